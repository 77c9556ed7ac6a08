//! What stands before a driver hands on what it has no part in.
//!
//! Some of these have an answer of their own in the trait, for drivers that know no better: one that
//! was forgotten would be answered here without the driver being asked.

/// The methods of a `Driver` that are none of a decorator's matter; the driver is its field `inner`.
macro_rules! pass_on {
    () => {
        fn pid<'a>(&'a self, container: &'a str) -> ::reconciler::ports::Answer<'a, Option<u32>> {
            self.inner.pid(container)
        }

        fn hosts_path<'a>(
            &'a self,
            container: &'a str,
        ) -> ::reconciler::ports::Answer<'a, Option<::std::sync::Arc<str>>> {
            self.inner.hosts_path(container)
        }

        fn logs<'a>(
            &'a self,
            container: &'a str,
            query: ::reconciler::ports::LogQuery,
            sink: &'a (dyn Fn(::reconciler::ports::LogLine) + Send + Sync),
        ) -> ::reconciler::ports::Answer<'a, ()> {
            self.inner.logs(container, query, sink)
        }

        fn exec<'a>(
            &'a self,
            container: &'a str,
            command: &'a ::reconciler::ports::ExecCommand,
            talk: &'a dyn ::reconciler::ports::ExecTalk,
        ) -> ::reconciler::ports::Answer<'a, ::reconciler::ports::ExecEnd> {
            self.inner.exec(container, command, talk)
        }

        fn usage<'a>(
            &'a self,
            container: &'a str,
        ) -> ::reconciler::ports::Answer<'a, ::reconciler::ports::Usage> {
            self.inner.usage(container)
        }

        fn inside<'a>(
            &'a self,
            container: &'a str,
        ) -> ::reconciler::ports::Answer<'a, ::reconciler::ports::Inside> {
            self.inner.inside(container)
        }
    };
}
pub(crate) use pass_on;
