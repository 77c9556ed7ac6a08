//! A look into a container: which programs run, and which files are not as in its image.

use bollard::models::ContainerTopResponse;
use bollard::query_parameters::TopOptions;
use reconciler::ports::{DriverError, Inside};

use super::connect::DockerDriver;

/// The engine's `ps` is asked for these columns; it wants the first one to tell whose they are.
const COLUMNS: &str = "-eo pid,args";

/// See [`Driver::inside`](reconciler::ports::Driver::inside).
pub(super) async fn inside(driver: &DockerDriver, container: &str) -> Result<Inside, DriverError> {
    let operation = format!("list the processes of container {container}");
    let top = driver
        .call(&operation, driver.deadlines().look, |session| async move {
            let options = TopOptions { ps_args: COLUMNS.to_owned() };
            session.docker.top_processes(container, Some(options)).await
        })
        .await?;
    let operation = format!("list the changed files of container {container}");
    let changes = driver
        .call(&operation, driver.deadlines().look, |session| async move {
            session.docker.container_changes(container).await
        })
        .await?;
    let mut paths: Vec<String> =
        changes.unwrap_or_default().into_iter().map(|change| change.path).collect();
    paths.sort_unstable();
    paths.truncate(Inside::MAX);
    Ok(Inside { processes: programs(&top), changes: paths })
}

/// The program of each process: the first word of the last column. What follows may be a secret.
fn programs(top: &ContainerTopResponse) -> Vec<String> {
    let rows = top.processes.iter().flatten();
    let program = |row: &Vec<String>| row.last()?.split_whitespace().next().map(str::to_owned);
    let mut programs: Vec<String> = rows.filter_map(program).collect();
    programs.sort_unstable();
    programs.dedup();
    programs.truncate(Inside::MAX);
    programs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_and_what_they_were_given_is_not() {
        let row = |pid: &str, args: &str| vec![pid.to_owned(), args.to_owned()];
        let top = ContainerTopResponse {
            titles: Some(vec!["PID".to_owned(), "COMMAND".to_owned()]),
            processes: Some(vec![
                row("1", "nginx: master process"),
                row("2", "/usr/bin/db --password hunter2"),
                row("3", "/usr/bin/db --password hunter2"),
            ]),
        };
        assert_eq!(programs(&top), ["/usr/bin/db", "nginx:"]);
        assert!(programs(&ContainerTopResponse::default()).is_empty());
    }
}
