//! Which commit a directory stands at: from `.git` itself, a few small files a look.

use std::fs;
use std::path::{Path, PathBuf};

use reconciler::model::journal::Checkout;

use super::git;

/// Digits of a commit's id: of SHA-1, or of SHA-256.
const ID_DIGITS: [usize; 2] = [40, 64];

/// A reference may name another one; nobody has longer rows of them.
const REFERENCES_MAX: u32 = 5;

/// Files of references are small; packed ones of a large repository take some megabytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Looks at a directory again and again.
#[derive(Debug, Default)]
pub struct Checkouts {
    /// What was told last; nothing before the first look.
    told: Option<Option<Checkout>>,
}

impl Checkouts {
    /// Which commit the directory stands at, if that is another one than the last time, or if what
    /// it holds changed (`is_news`) and that made it dirty or clean.
    pub fn look(&mut self, dir: &Path, is_news: bool) -> Option<Option<Checkout>> {
        let head = head(dir);
        let known = self.told.as_ref();
        let is_known = known.is_some_and(|told| {
            told.as_ref().map(|told| &*told.commit) == head.as_ref().map(|head| &*head.commit)
        });
        if is_known && (!is_news || head.is_none()) {
            return None;
        }
        let now = head.map(|Head { commit, branch }| {
            let before = known.and_then(Option::as_ref).filter(|_| is_known);
            // A commit never changes, so it is asked about once.
            let (author, at) = match before {
                Some(before) => (before.author.clone(), before.at),
                None => git::author(dir, &commit).unzip(),
            };
            let dirty = git::is_dirty(dir);
            Checkout { commit: commit.into(), branch: branch.map(Into::into), author, at, dirty }
        });
        if known == Some(&now) {
            return None;
        }
        self.told = Some(now.clone());
        Some(now)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    commit: String,
    branch: Option<String>,
}

/// What `HEAD` means for a directory; nothing if it is in no checkout, or before the first commit.
fn head(dir: &Path) -> Option<Head> {
    let dir = fs::canonicalize(dir).ok()?;
    let own = dir.ancestors().find_map(git_dir)?;
    // References of a worktree stand with its repository.
    let shared = read(&own.join("commondir")).map(|path| own.join(path.trim()));
    let mut text = read(&own.join("HEAD"))?;
    let mut branch = None;
    for _ in 0..REFERENCES_MAX {
        let Some(name) = text.trim().strip_prefix("ref: ").map(str::to_owned) else {
            let commit = text.trim().to_owned();
            let is_id = ID_DIGITS.contains(&commit.len())
                && commit.bytes().all(|digit| digit.is_ascii_hexdigit());
            return is_id.then_some(Head { commit, branch });
        };
        // A name that leads elsewhere is none of Git's.
        if !name.starts_with("refs/") || name.split('/').any(|part| part == "..") {
            return None;
        }
        let places = [Some(&own), shared.as_ref()];
        let loose = places.into_iter().flatten().find_map(|at| read(&at.join(&name)));
        let at = shared.as_ref().unwrap_or(&own);
        text = loose.or_else(|| packed(&read(&at.join("packed-refs"))?, &name))?;
        branch = name.strip_prefix("refs/heads/").map(str::to_owned);
    }
    None
}

/// The directory that Git keeps for a checkout: in it, or where a file there says.
fn git_dir(dir: &Path) -> Option<PathBuf> {
    let at = dir.join(".git");
    let kind = fs::metadata(&at).ok()?;
    if kind.is_dir() {
        return Some(at);
    }
    let text = read(&at)?;
    Some(dir.join(text.trim().strip_prefix("gitdir: ")?))
}

fn packed(text: &str, name: &str) -> Option<String> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(_, of)| *of == name).map(|(id, _)| id.to_owned())
}

fn read(path: &Path) -> Option<String> {
    let is_small = fs::metadata(path).is_ok_and(|file| file.len() <= FILE_BYTES_MAX);
    if is_small { fs::read_to_string(path).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "4be21c7a4be21c7a4be21c7a4be21c7a4be21c7a";
    const TWO: &str = "5be21c7a4be21c7a4be21c7a4be21c7a4be21c7a";

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn at(commit: &str, branch: Option<&str>) -> Option<Head> {
        Some(Head { commit: commit.to_owned(), branch: branch.map(str::to_owned) })
    }

    #[test]
    fn a_head_is_read_from_all_forms_of_references() {
        let dir = tempfile::tempdir().unwrap();
        let (git, specs) = (dir.path().join(".git"), dir.path().join("deploy/specs"));
        fs::create_dir_all(&specs).unwrap();
        assert_eq!(head(&specs), None);
        write(git.join("HEAD"), "ref: refs/heads/main\n");
        assert_eq!(head(&specs), None, "before the first commit");
        write(git.join("packed-refs"), &format!("# pack-refs\n{TWO} refs/heads/main\n^{ONE}\n"));
        assert_eq!(head(&specs), at(TWO, Some("main")));
        write(git.join("refs/heads/main"), &format!("{ONE}\n"));
        assert_eq!(head(&specs), at(ONE, Some("main")), "a loose one counts more");
        write(git.join("HEAD"), &format!("{TWO}\n"));
        assert_eq!(head(&specs), at(TWO, None));
        write(git.join("HEAD"), "ref: refs/../../secret\n");
        assert_eq!(head(&specs), None);
    }

    #[test]
    fn a_worktree_finds_its_repository() {
        let dir = tempfile::tempdir().unwrap();
        let (git, tree) = (dir.path().join("repo/.git"), dir.path().join("tree"));
        write(git.join("refs/heads/work"), ONE);
        write(git.join("worktrees/tree/HEAD"), "ref: refs/heads/work\n");
        write(git.join("worktrees/tree/commondir"), "../..\n");
        let own = git.join("worktrees/tree");
        write(tree.join(".git"), &format!("gitdir: {}\n", own.display()));
        assert_eq!(head(&tree), at(ONE, Some("work")));
    }

    #[test]
    fn only_what_changed_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut checkouts = Checkouts::default();
        assert_eq!(checkouts.look(dir.path(), true), Some(None), "the first look always tells");
        assert_eq!(checkouts.look(dir.path(), true), None);
        write(dir.path().join(".git/HEAD"), ONE);
        // No repository of Git's, so that nothing more is known of the commit.
        let told = checkouts.look(dir.path(), false).flatten().unwrap();
        assert_eq!((&*told.commit, told.author, told.dirty), (ONE, None, None));
        assert_eq!(checkouts.look(dir.path(), false), None);
        fs::remove_dir_all(dir.path().join(".git")).unwrap();
        assert_eq!(checkouts.look(dir.path(), false), Some(None));
    }

    #[test]
    fn git_tells_author_and_changes() {
        let dir = tempfile::tempdir().unwrap();
        let specs = dir.path().join("specs");
        write(specs.join("web.yaml"), "a: 1\n");
        let run = |arguments: &[&str]| {
            let identity = ["-c", "user.name=Dev", "-c", "user.email=dev@example.org"];
            std::process::Command::new("git")
                .arg("-C")
                .arg(dir.path())
                .args(identity)
                .args(arguments)
                .output()
                .is_ok_and(|out| out.status.success())
        };
        if !run(&["init", "-q", "-b", "main"]) {
            // Without `git` nothing is known of author and changes, as the test above shows.
            return;
        }
        assert!(run(&["add", "."]) && run(&["commit", "-q", "-m", "one"]));
        let mut checkouts = Checkouts::default();
        let told = checkouts.look(&specs, true).flatten().unwrap();
        assert_eq!(told.author.as_deref(), Some("Dev <dev@example.org>"));
        assert_eq!((told.branch.as_deref(), told.dirty), (Some("main"), Some(false)));
        assert!(told.at.is_some());
        write(specs.join("web.yaml"), "a: 2\n");
        assert_eq!(checkouts.look(&specs, false), None, "nobody said that anything changed");
        let dirty = checkouts.look(&specs, true).flatten().unwrap();
        assert_eq!((&dirty.commit, dirty.dirty), (&told.commit, Some(true)));
        assert!(run(&["commit", "-q", "-a", "-m", "two"]));
        let next = checkouts.look(&specs, false).flatten().unwrap();
        assert_eq!(next.dirty, Some(false));
        assert_ne!(next.commit, told.commit);
    }
}
