//! `windlass completion`: what makes a shell complete windlass's words, and in bash and fish the names
//! of instances as well.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::args::Cli;
use super::{Context, Ended};

/// Verbs whose arguments are names of instances.
const VERBS_WITH_NAMES: [&str; 5] = ["describe", "events", "exec", "logs", "wait"];

/// A key that is pressed must not hang: an engine that does not answer gives no names.
const NAMES: &str = "windlass get instances -o name --timeout 2s 2>/dev/null";

/// Runs the verb.
pub(super) fn run(context: &Context, shell: Shell) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "windlass", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    // Other shells complete words and files.
    if shell == Shell::Bash {
        script.push_str(&bash());
    } else if shell == Shell::Fish {
        script.push_str(&fish());
    }
    context.out.print(&script)?;
    Ok(0)
}

fn bash() -> String {
    let verbs = VERBS_WITH_NAMES.join("|");
    format!(
        r#"
_windlass_names() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" verb="${{COMP_WORDS[1]}}"
    if [[ "$COMP_CWORD" -gt 1 && "$verb" =~ ^({verbs})$ && "$word" != -* ]]; then
        COMPREPLY=( $(compgen -W "$({NAMES})" -- "$word") )
        [[ "${{#COMPREPLY[@]}}" -gt 0 ]] && return 0
    fi
    _windlass "$@"
}}
complete -F _windlass_names -o bashdefault -o default windlass
"#
    )
}

fn fish() -> String {
    let verbs = VERBS_WITH_NAMES.join(" ");
    format!("complete -c windlass -n '__fish_seen_subcommand_from {verbs}' -f -a '({NAMES})'\n")
}
