//! Fields that most containers leave out. Nearly all are the same in spec and container, once the
//! engine's form was normalised; what a spec does not say is the image's or the engine's affair.

use super::{Want, change};
use crate::model::observed::{MoreConfig, ObservedContainer};
use crate::model::spec::{Log, More};
use crate::step::FieldChange;

/// A comparison of two settings that are the same where nothing is wrong.
macro_rules! same {
    ($($name:ident, $field:literal, $want:expr, $have:expr);+ $(;)?) => {$(
        pub(super) fn $name(
            want: &Want<'_>,
            have: &ObservedContainer,
            found: &mut dyn FnMut(FieldChange),
        ) {
            let wanted: fn(&More) -> _ = $want;
            let present: fn(&MoreConfig) -> _ = $have;
            let (wanted, present) = (wanted(&want.spec.more), present(&have.config.more));
            if wanted != present {
                found(change($field, format!("{present:?}"), format!("{wanted:?}")));
            }
        }
    )+};
}

/// A comparison of a setting that is left to image or engine where the spec does not say it.
macro_rules! said {
    ($($name:ident, $field:literal, $want:expr, $have:expr);+ $(;)?) => {$(
        pub(super) fn $name(
            want: &Want<'_>,
            have: &ObservedContainer,
            found: &mut dyn FnMut(FieldChange),
        ) {
            let wanted: fn(&More) -> &Option<_> = $want;
            let present: fn(&MoreConfig) -> &Option<_> = $have;
            let (wanted, present) = (wanted(&want.spec.more), present(&have.config.more));
            if wanted.is_some() && wanted != present {
                let show = |value: &Option<_>| {
                    value.as_ref().map_or("default".to_owned(), |value| format!("{value:?}"))
                };
                found(change($field, show(present), show(wanted)));
            }
        }
    )+};
}

said! {
    workdir, "workdir", |more| &more.workdir, |more| &more.workdir;
    init, "init", |more| &more.init, |more| &more.init;
    user, "security.user", |more| &more.security.user, |more| &more.security.user;
    apparmor, "security.apparmor", |more| &more.security.apparmor, |more| &more.security.apparmor;
    pid, "security.namespaces.pid",
        |more| &more.security.namespaces.pid, |more| &more.security.namespaces.pid;
    uts, "security.namespaces.uts",
        |more| &more.security.namespaces.uts, |more| &more.security.namespaces.uts;
    users, "security.namespaces.user",
        |more| &more.security.namespaces.user, |more| &more.security.namespaces.user;
}

same! {
    dns, "dns", |more| (*more.dns).clone(), |more| more.dns.clone();
    extra_hosts, "extraHosts", |more| more.extra_hosts.clone(), |more| more.extra_hosts.clone();
    tty, "tty", |more| more.tty, |more| more.tty;
    groups, "security.groups",
        |more| more.security.groups.clone(), |more| more.security.groups.clone();
    read_only_root, "security.readOnlyRoot",
        |more| more.security.read_only_root, |more| more.security.read_only_root;
    no_new_privileges, "security.noNewPrivileges",
        |more| more.security.no_new_privileges, |more| more.security.no_new_privileges;
    cap_add, "security.capAdd",
        |more| more.security.cap_add.clone(), |more| more.security.cap_add.clone();
    cap_drop, "security.capDrop",
        |more| more.security.cap_drop.clone(), |more| more.security.cap_drop.clone();
    privileged, "security.privileged",
        |more| more.security.privileged, |more| more.security.privileged;
    devices, "security.devices",
        |more| more.security.devices.clone(), |more| more.security.devices.clone();
    sysctls, "security.sysctls",
        |more| more.security.sysctls.clone(), |more| more.security.sysctls.clone();
}

pub(super) fn log(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    // What all engines do out of the box is read back as nothing.
    let usual = Log::usual();
    let (wanted, present) = (&want.spec.more.log, &have.config.more.log);
    if let Some(wanted) = wanted
        && wanted != present.as_ref().unwrap_or(&usual)
    {
        let from = present.as_ref().map_or("default", |log| &log.driver);
        found(change("log", from, wanted.driver.as_str()));
    }
}

pub(super) fn ipc(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let of = |word: &Option<String>| word.clone().unwrap_or_else(|| "private".to_owned());
    let wanted = &want.spec.more.security.namespaces.ipc;
    let (to, from) = (of(wanted), of(&have.config.more.security.namespaces.ipc));
    if wanted.is_some() && to != from {
        found(change("security.namespaces.ipc", from, to));
    }
}

pub(super) fn cgroup(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let wanted = &want.spec.more.security.namespaces.cgroup;
    let present = &have.config.more.security.namespaces.cgroup;
    // Nothing is read back where the container has what its engine gives to all: which of the two
    // that is, its kernel says.
    if let (Some(to), Some(from)) = (wanted, present)
        && to != from
    {
        found(change("security.namespaces.cgroup", from.as_str(), to.as_str()));
    }
}

pub(super) fn seccomp(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let (wanted, present) = (&want.spec.more.security.seccomp, &have.config.more.security.seccomp);
    if wanted.is_some() && wanted != present {
        // A profile is thousands of bytes.
        found(change("security.seccomp", "", ""));
    }
}

pub(super) fn ulimits(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let present = &have.config.more.security.ulimits;
    for (name, limit) in &want.spec.more.security.ulimits {
        if present.get(name) != Some(limit) {
            let show = |limit: Option<&crate::model::spec::Ulimit>| {
                limit.map_or("none".to_owned(), |limit| format!("{}:{}", limit.soft, limit.hard))
            };
            let field = format!("security.ulimits.{name}");
            found(change(&field, show(present.get(name)), show(Some(limit))));
        }
    }
}
