//! Requests during a rollout: a consumer asks by its alias twenty times a second, and what came of
//! each request is held against what the engine says of the replica that it reached.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::room::{LONG, Loop, assert_settled, engine_time, instance, network, one, seen};
use crate::lab::{Engine, Sandbox, Up, eventually};

/// Asks every 50 ms, whatever becomes of earlier requests: a line `began NUMBER`, and at its end
/// `NUMBER BEGAN ENDED ADDRESS CODE`. A request without an answer after 5 s failed. The uptime of the
/// machine is the only clock of a shell that counts less than seconds; it counts hundredths.
const ASK: &str = r#"trap 'exit 0' TERM
n=0
while :; do
  n=$((n + 1))
  echo "began $n"
  (
    read at rest </proc/uptime
    told=$(timeout 5 wget -O /dev/null http://shop/ok 2>&1)
    code=$?
    to=${told#*(}
    case $told in *"("*) to=${to%%:*} ;; *) to=none ;; esac
    read end rest </proc/uptime
    echo "$n $at $end $to $code"
  ) 2>/dev/null &
  usleep 48000
done"#;

/// Three replicas that are ready a second after their start, and end at once when they are told to:
/// whoever still asks them then is cut off.
fn shop(n: u32, networks: &str) -> String {
    let serves = "trap \"exit 0\" TERM; mkdir -p /tmp/w; httpd -p 80 -h /tmp/w; sleep 1; \
                  echo ok > /tmp/w/ok; sleep 100000 & wait";
    let spec = format!(
        "command: [sh, -c, '{serves}']\n\
         env: {{ N: '{n}' }}\n\
         replicas: 3\n\
         health: {{ exec: [test, -e, /tmp/w/ok], interval: 300ms, timeout: 10s, startPeriod: 10m }}\n\
         update: {{ order: start-first, healthTimeout: 10m, onFailure: hold }}{networks}"
    );
    instance("web", &spec)
}

fn consumer(networks: &str) -> String {
    let script: String = ASK.lines().map(|line| format!("\n    {line}")).collect();
    let user = instance("user", &format!("command:\n- sh\n- -c\n- |{script}{networks}"));
    let link = "---\napiVersion: windlass/v1\nkind: Link\nmetadata: { name: user-web, project: $project }\n\
                spec: { from: user, to: web, alias: shop, ports: [80], condition: healthy }\n";
    user + link
}

/// A request that came to its end.
#[derive(Debug, Clone)]
struct Request {
    /// When it began, by the clock of this machine; in nanoseconds, as engines give times.
    at: u128,
    /// When it ended.
    until: u128,
    /// The address that the alias led it to.
    to: String,
    is_answered: bool,
}

/// When this machine was started, by its clock of today; in nanoseconds.
fn boot() -> u128 {
    let uptime = std::fs::read_to_string("/proc/uptime").expect("an uptime");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time");
    let uptime = uptime.split(' ').next().expect("a number").replace('.', "");
    now.as_nanos() - uptime.parse::<u128>().expect("hundredths") * 10_000_000
}

/// Requests, by their number; `None` for those that are under way.
fn requests(lines: &[String]) -> BTreeMap<u32, Option<Request>> {
    let boot = boot();
    let mut all = BTreeMap::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["began", number] => drop(all.entry(number.parse().expect("a number")).or_insert(None)),
            [number, at, until, to, code] => {
                let time = |uptime: &str| {
                    let hundredths: u128 = uptime.replace('.', "").parse().expect("a time");
                    boot + hundredths * 10_000_000
                };
                let (at, until) = (time(at), time(until));
                let request = Request { at, until, to: to.to_owned(), is_answered: code == "0" };
                all.insert(number.parse().expect("a number"), Some(request));
            }
            _ => panic!("no such line: {line}"),
        }
    }
    all
}

/// From when until when, by the engine's events, a container was ready: from its first healthy check
/// until it was told to end.
#[derive(Debug, Clone, Copy, Default)]
struct Served {
    from: Option<u128>,
    until: Option<u128>,
}

/// What an end may be ahead of the time that the engine gives for it. It tells of a signal after it
/// sent it, and times of requests are hundredths that were rounded down: without a margin, one that
/// an end cut off may seem to have ended before it. In nanoseconds.
const TOLD_LATE: u128 = 100_000_000;

impl Served {
    /// Whether it was ready as long as a request took. One that an end cut off is none of these: by
    /// DNS such ones are led there until the last moment.
    fn all_of(self, request: &Request) -> bool {
        self.from.is_some_and(|from| from <= request.at)
            && self.until.is_none_or(|until| request.until + TOLD_LATE < until)
    }
}

fn served(events: &[String]) -> BTreeMap<String, Served> {
    let mut all: BTreeMap<String, Served> = BTreeMap::new();
    for line in events {
        let mut words = line.splitn(3, ' ');
        let [Some(at), Some(id), Some(what)] = [words.next(), words.next(), words.next()] else {
            panic!("no such event: {line}")
        };
        let (at, served) = (at.parse().expect("a time"), all.entry(id.to_owned()).or_default());
        match what {
            "health_status: healthy" => drop(served.from.get_or_insert(at)),
            "kill" | "die" => drop(served.until.get_or_insert(at)),
            _ => {}
        }
    }
    all
}

/// What came of the requests of a rollout.
#[derive(Debug, Default)]
struct Tally {
    all: usize,
    failed: usize,
    /// Failed, though they reached a replica that was ready.
    broken: Vec<Request>,
    /// Failed, and reached one that was not, or none.
    led_astray: Vec<Request>,
}

fn tally(
    requests: impl IntoIterator<Item = Request>,
    addresses: &BTreeSet<(String, String)>,
    served: &BTreeMap<String, Served>,
) -> Tally {
    let mut tally = Tally::default();
    for request in requests {
        tally.all += 1;
        if request.is_answered {
            continue;
        }
        tally.failed += 1;
        let mut had_it = addresses.iter().filter(|(address, _)| *address == request.to);
        let is_ready = |id: &String| served.get(id).is_some_and(|served| served.all_of(&request));
        if had_it.any(|(_, id)| is_ready(id)) {
            tally.broken.push(request);
        } else {
            tally.led_astray.push(request);
        }
    }
    tally
}

#[test]
fn a_broken_promise_would_be_seen() {
    let lines =
        ["5 a health_status: healthy", "9 a kill", "10 a die", "8 b health_status: healthy"];
    let lines = lines.map(|line| line.replacen(' ', "000000000 ", 1));
    let served = served(&lines);
    let addresses = [("1", "a"), ("2", "b")].map(|(at, id)| (at.to_owned(), id.to_owned()));
    const SECOND: u128 = 1_000_000_000;
    let request = |at: u128, to: &str| {
        let (at, until) = (at * SECOND / 10, (at + 1) * SECOND / 10);
        Request { at, until, to: to.to_owned(), is_answered: false }
    };
    let all = [49, 60, 87, 88, 90].map(|at| request(at, "1"));
    let all = all.into_iter().chain([request(90, "2"), request(90, "3")]);
    let tally = tally(all, &BTreeSet::from(addresses), &served);
    assert_eq!((tally.all, tally.failed), (7, 7));
    let broken: Vec<_> =
        tally.broken.iter().map(|one| (one.at * 10 / SECOND, one.to.as_str())).collect();
    assert_eq!(broken, [(60, "1"), (87, "1"), (90, "2")]);
}

/// Ends a watch, also where a test fails.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the engine tells of containers of a sandbox since a time of its own.
fn events(room: &Sandbox<'_>, since: &str) -> Up {
    let project = format!("label=io.windlass.project={}", room.project());
    let mut args = vec!["events", "--since", since, "--filter", &project];
    args.extend(["--filter", "type=container"]);
    for event in ["event=kill", "event=die", "event=destroy", "event=health_status"] {
        args.extend(["--filter", event]);
    }
    args.extend(["--format", "{{.TimeNano}} {{.Actor.ID}} {{.Action}}"]);
    Up::spawn(room.engine().docker_command(&args))
}

/// Rolls three replicas out twice while they are asked, and says what came of the requests.
fn roll_while_asked(engine: &Engine, networks: &str) -> Tally {
    let room = Sandbox::new(engine);
    let since = engine_time(engine);
    let set = |n: u32| [network("back"), shop(n, networks), consumer(networks)].concat();
    room.spec("set.yaml", &set(1));
    let held = Loop::hold(&room);
    assert!(held.apply().is_good());
    held.wait_until_settled();
    let events = events(&room, since.trim());
    let user = one(&room, "user", 0);
    let follow = ["logs", "-f", user.id()];
    let asked = Up::spawn(engine.docker_command(&follow));
    let ended = |asked: &Up| requests(&asked.lines()).values().flatten().count();
    eventually("they are answered", LONG, || ended(&asked) > 20);
    let first: Vec<String> = (0..3).map(|at| one(&room, "web", at).id().to_owned()).collect();

    // An address has had several containers at the end.
    let (over, mut addresses) = (AtomicBool::new(false), BTreeSet::new());
    let mut gone = first;
    thread::scope(|scope| {
        let ends = SetAtEnd(&over);
        let watched = scope.spawn(|| {
            let mut found = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                for one in seen(&room).values() {
                    let networks = one.0["NetworkSettings"]["Networks"].as_object();
                    let all = networks.into_iter().flat_map(|all| all.values());
                    for address in all.filter_map(|network| network["IPAddress"].as_str()) {
                        found.insert((address.to_owned(), one.id().to_owned()));
                    }
                }
                thread::sleep(Duration::from_millis(100));
            }
            found
        });
        for n in 2..4 {
            room.spec("set.yaml", &set(n));
            let outcome = held.apply();
            assert!(outcome.is_good(), "{outcome:#?}");
            held.wait_until_settled();
            gone.extend((0..3).map(|at| one(&room, "web", at).id().to_owned()));
        }
        let so_far = ended(&asked);
        eventually("they are answered after it", LONG, || ended(&asked) > so_far + 20);
        drop(ends);
        addresses = watched.join().expect("watched");
    });
    assert_eq!(one(&room, "user", 0).life(), user.life(), "who asks was touched");
    gone.truncate(6);
    eventually("the engine told of the end of each", LONG, || {
        let told = events.lines();
        gone.iter().all(|id| told.iter().any(|line| line.ends_with(&format!("{id} destroy"))))
    });
    // All that began before now comes to its end.
    let begun = requests(&asked.lines()).len();
    eventually("each request ended", LONG, || {
        requests(&asked.lines()).values().take(begun).all(Option::is_some)
    });
    let all: Vec<Request> = requests(&asked.lines()).into_values().take(begun).flatten().collect();
    let served = served(&events.lines());
    assert_eq!(served.len(), 9, "three replicas, three times: {served:#?}");
    let took = all.iter().map(|one| one.at).max().zip(all.iter().map(|one| one.at).min());
    let took = took.map_or(0, |(last, first)| (last - first) / 1_000_000);
    let tally = tally(all, &addresses, &served);
    // Past what captures the output of tests that go well. What cannot be said is no reason to fail.
    let _ = writeln!(
        std::io::stderr(),
        "{}: {} requests in {took} ms, {} failed: {} reached a replica that was ready, {} did not",
        engine.version(),
        tally.all,
        tally.failed,
        tally.broken.len(),
        tally.led_astray.len()
    );
    held.stop();
    assert_settled(&room);
    tally
}

/// Names stand in the hosts file, which is asked before DNS. They lead to a successor before its
/// predecessor is told to end, so nobody notices anything.
fn nobody_notices_a_rollout(engine: &Engine) {
    let tally = roll_while_asked(engine, "");
    assert_eq!(tally.failed, 0, "{tally:#?}");
}

#[test]
fn nobody_notices_a_rollout_on_20_10() {
    nobody_notices_a_rollout(engine!(V20_10));
}

#[test]
fn nobody_notices_a_rollout_on_26_1() {
    nobody_notices_a_rollout(engine!(V26_1));
}

/// On a network that is declared, engines say what names lead to, and they name a container until
/// it has ended. So some are led to one that is ending; who is not gets an answer.
#[test]
fn by_dns_all_that_is_ready_answers() {
    let tally = roll_while_asked(engine!(V20_10), "\nnetworks: [back]");
    assert!(tally.broken.is_empty(), "{tally:#?}");
}
