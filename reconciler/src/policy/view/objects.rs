//! What scripts see of the other kinds.

use super::table::{dict, maybe, maybe_part, part, shown, table, text, texts, word};
use crate::model::spec::{
    FlavorSpec, Grant, ImageSource, ImageSpec, LinkPort, LinkSpec, NetworkSpec, NodeSpec,
    Overcommit, ProjectSpec, Quota, Room, Subnet, TrustedKey, Verify, VolumeSpec,
};

table! {
    /// An Image.
    IMAGE_SPEC = "Image": ImageSpec {
        "source": Part(&IMAGE_SOURCE) |spec| part(&spec.source);
        "pull": Text |spec| word(&spec.pull);
        "verify": Part(&VERIFY) |spec| maybe_part(spec.verify.as_ref());
    }
}

table! {
    /// Whose signatures its content should bear.
    VERIFY = "verify": Verify {
        "keys": Parts(&TRUSTED_KEY) |verify, at| maybe_part(verify.keys.get(at));
        "signatures": Text |verify| verify.signatures.as_ref().and_then(|file| text(&file.path));
    }
}

table! {
    /// A key whose signatures count.
    TRUSTED_KEY = "key": TrustedKey {
        "name": Text |key| text(&key.name);
    }
}

table! {
    /// Where an image's content is: one of the three is there.
    IMAGE_SOURCE = "source": ImageSource {
        "registry": Text |source| match source {
            ImageSource::Registry(reference) => text(reference),
            ImageSource::Archive(_) | ImageSource::Rootfs { .. } => None,
        };
        "archive": Text |source| match source {
            ImageSource::Archive(file) => text(&file.path),
            ImageSource::Registry(_) | ImageSource::Rootfs { .. } => None,
        };
        "rootfs": Part(&ROOTFS) |source| {
            maybe_part(matches!(source, ImageSource::Rootfs { .. }).then_some(source))
        };
    }
}

table! {
    /// A root file system, and what an image made of it says.
    ROOTFS = "rootfs": ImageSource {
        "file": Text |source| match source {
            ImageSource::Rootfs { file, .. } => text(&file.path),
            ImageSource::Registry(_) | ImageSource::Archive(_) => None,
        };
        "command": Texts |source| match source {
            ImageSource::Rootfs { command, .. } => command.as_ref().and_then(texts),
            ImageSource::Registry(_) | ImageSource::Archive(_) => None,
        };
        "env": Dict |source| match source {
            ImageSource::Rootfs { env, .. } => dict(env),
            ImageSource::Registry(_) | ImageSource::Archive(_) => None,
        };
    }
}

table! {
    /// A Volume.
    VOLUME = "Volume": VolumeSpec {
        "driver": Text |spec| text(&spec.driver);
        "options": Dict |spec| dict(&spec.options);
        "retain": Flag |spec| Some(spec.retain);
        "protected": Flag |spec| Some(spec.protected);
    }
}

table! {
    /// A Network.
    NETWORK = "Network": NetworkSpec {
        "driver": Text |spec| text(&spec.driver);
        "options": Dict |spec| dict(&spec.options);
        "internal": Flag |spec| Some(spec.internal);
        "ipv6": Flag |spec| Some(spec.ipv6);
        "protected": Flag |spec| Some(spec.protected);
        "subnets": Parts(&SUBNET) |spec, at| maybe_part(spec.subnets.get(at));
    }
}

table! {
    /// An address range of a network.
    SUBNET = "subnet": Subnet {
        "subnet": Text |range| text(&range.subnet);
        "range": Text |range| maybe(&range.range);
        "gateway": Text |range| maybe(&range.gateway);
        "reserved": Dict |range| dict(&range.reserved);
    }
}

table! {
    /// A Link.
    LINK = "Link": LinkSpec {
        "from": Text |spec| shown(&spec.from);
        "to": Text |spec| shown(&spec.to);
        "alias": Text |spec| text(&spec.alias);
        "ports": Parts(&LINK_PORT) |spec, at| maybe_part(spec.ports.get(at));
        "condition": Text |spec| text(spec.condition.map_or("none", |wait| wait.as_str()));
        "env": Flag |spec| Some(spec.env);
    }
}

table! {
    /// A port that is linked to.
    LINK_PORT = "port": LinkPort {
        "port": Number |port| Some(u64::from(port.port));
        "protocol": Text |port| text(port.protocol.as_str());
    }
}

table! {
    /// A Flavor.
    FLAVOR = "Flavor": FlavorSpec {
        "cpus": Cpus |spec| spec.resources.cpus;
        "cpuShares": Number |spec| spec.resources.cpu_shares;
        "cpuset": Text |spec| maybe(&spec.resources.cpuset);
        "cpuPolicy": Text |spec| word(&spec.resources.cpu_policy);
        "memory": Memory |spec| spec.resources.memory;
        "memorySwap": Memory |spec| spec.resources.memory_swap.map(super::instance::swap);
        "pids": Number |spec| spec.resources.pids;
        "disk": Memory |spec| spec.resources.disk;
        "io": Part(&super::instance::BLOCK_IO) |spec| {
            part::<crate::model::spec::BlockIo>(&spec.resources.io)
        };
    }
}

table! {
    /// A Project.
    PROJECT = "Project": ProjectSpec {
        "quota": Part(&QUOTA) |spec| part(&spec.quota);
        "parent": Text |spec| spec.parent.as_ref().and_then(shown);
        "grant": Parts(&GRANT) |spec, at| maybe_part(spec.grant.get(at));
    }
}

table! {
    /// The most that a project may use.
    QUOTA = "quota": Quota {
        "cpus": Cpus |quota| quota.cpus;
        "memory": Memory |quota| quota.memory;
        "pids": Number |quota| quota.pids;
        "io": Part(&super::instance::BLOCK_IO) |quota| {
            part::<crate::model::spec::BlockIo>(&quota.io)
        };
        "instances": Number |quota| quota.instances;
        "ports": Number |quota| quota.ports;
        "images": Number |quota| quota.images;
        "volumes": Number |quota| quota.volumes;
    }
}

table! {
    /// Whose links may lead where.
    GRANT = "grant": Grant {
        "project": Text |grant| shown(&grant.project);
        "instances": Texts |grant| {
            let names = grant.instances.as_ref()?;
            Some(names.iter().map(|name| std::borrow::Cow::Borrowed(name.as_str())).collect())
        };
    }
}

table! {
    /// A Node.
    NODE = "Node": NodeSpec {
        "endpoint": Text |spec| shown(&spec.endpoint);
        "cgroupRoot": Text |spec| maybe(&spec.cgroup_root);
        "capacity": Part(&ROOM) |spec| part(&spec.capacity);
        "reserved": Part(&ROOM) |spec| part(&spec.reserved);
        "overcommit": Part(&OVERCOMMIT) |spec| part(&spec.overcommit);
        "cordon": Flag |spec| Some(spec.cordon);
        "drain": Flag |spec| Some(spec.drain);
    }
}

table! {
    /// How many times what a node has may be promised.
    OVERCOMMIT = "overcommit": Overcommit {
        "cpus": Text |over| over.cpus.as_ref().and_then(shown);
        "memory": Text |over| over.memory.as_ref().and_then(shown);
    }
}

table! {
    /// Room for replicas.
    ROOM = "room": Room {
        "cpus": Cpus |room| room.cpus;
        "memory": Memory |room| room.memory;
        "pids": Number |room| room.pids;
        "instances": Number |room| room.instances;
    }
}
