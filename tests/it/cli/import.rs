//! `windlass import compose`: what it makes is validated, and runs.

use std::time::Duration;

use crate::lab::{Sandbox, eventually};

const SHOP: &str = "\
name: $project
services:
  web:
    image: busybox:latest
    command: sh -c \"mkdir /www && echo hello > /www/index.html && exec httpd -f -p 8080 -h /www\"
    ports: [\"127.0.0.1:${WEB_PORT:-$port0}:8080\"]
    healthcheck:
      test: wget -q -O /dev/null http://127.0.0.1:8080/
      interval: 500ms
      retries: 40
    deploy: { resources: { limits: { memory: 32M } } }
    stop_grace_period: 0s
    restart: unless-stopped
  job:
    image: busybox:latest
    command: [wget, -q, -O, \"-\", \"http://web:8080/\"]
    depends_on: { web: { condition: service_healthy } }
networks:
  default:
    ipam: { config: [ { subnet: $subnet.0/24 } ] }
";

#[test]
fn a_compose_file_comes_up_as_specs() {
    let room = Sandbox::new(engine!(V20_10));
    let folder = room.path().join("shop");
    std::fs::create_dir(&folder).expect("a directory");
    let file = folder.join("docker-compose.yml");
    let text = room.fill(&SHOP.replace("$subnet", &room.subnet()));
    std::fs::write(&file, &text).expect("a file");
    let (file, specs) = (file.display().to_string(), room.specs().display().to_string());

    let out = room.windlass(&["import", "compose", &file, &specs, "--strict"]);
    assert_eq!(out.code, 0, "{out:?}");
    assert!(
        out.stderr.contains("docker-compose.yml:13: service web: restart: it is `always`"),
        "{out:?}"
    );
    assert!(
        out.stderr.contains("3 files in ") && out.stderr.contains("all of it carried over"),
        "{out:?}"
    );
    let out = room.windlass(&["validate"]);
    assert_eq!(out.code, 0, "{out:?}");
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 0, "{out:?}");
    let page = || room.engine().http_get(room.port(0), "/");
    eventually("it answers on its host port", Duration::from_secs(30), || {
        page().as_deref() == Some("hello\n")
    });
    eventually("the job found web by its name", Duration::from_secs(60), || {
        room.windlass(&["logs", "job"]).stdout == "hello\n"
    });
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 0, "{out:?}");

    // The same again changes nothing; something else is not written over.
    let again = room.windlass(&["import", "compose", &file, &specs, "-q"]);
    assert_eq!((again.code, again.stdout.as_str(), again.stderr.as_str()), (0, "", ""));
    std::fs::write(&file, text.replace("memory: 32M", "memory: 48M, gone: 1")).expect("a file");
    let out = room.windlass(&["import", "compose", &file, &specs]);
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stderr.contains("web.yaml") && out.stderr.contains("--force"), "{out:?}");
    let out = room.windlass(&["import", "compose", &file, &specs, "--force", "--strict"]);
    assert_eq!(out.code, 1, "what is lost makes it fail: {out:?}");
    assert!(out.stderr.contains("deploy.resources.limits.gone is not carried over"), "{out:?}");
    let plan = room.windlass(&["plan"]);
    assert!(plan.stdout.contains("memory 32Mi -> 48Mi"), "{plan:?}");
    let out = room.windlass(&["import", "compose", &file, "-"]);
    assert!(out.code == 0 && out.stdout.contains("memory: 48Mi"), "{out:?}");
    let out = room.windlass(&["down", "-y"]);
    assert_eq!(out.code, 0, "{out:?}");
}
