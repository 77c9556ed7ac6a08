# The checks of reconciler/tests/policy/seventeen.rhai.
package seventeen

capabilities := {"CHOWN", "KILL", "NET_BIND_SERVICE"}

sensitive := ["/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr"]

deny contains "image is not pinned" if not input.image.pinned

deny contains "foreign registry" if not startswith(input.image.ref, "registry.example/")

deny contains "privileged" if input.security.privileged

deny contains "capability" if {
	some name in input.security.capAdd
	not name in capabilities
}

deny contains "the engine's socket" if {
	some mount in input.volumes
	endswith(mount.bind, "docker.sock")
}

deny contains "sensitive path" if {
	some mount in input.volumes
	is_sensitive(mount.bind)
}

deny contains "privileged host port" if {
	some port in input.ports
	port.host.first < 1024
}

deny contains "published everywhere" if {
	some port in input.ports
	port.host
	object.get(port, "address", "0.0.0.0") == "0.0.0.0"
}

deny contains "no memory limit" if not input.resources.memory

deny contains "no cpu limit" if not input.resources.cpus

deny contains "no pids limit" if not input.resources.pids

deny contains "writable root" if not input.security.readOnlyRoot

deny contains "may gain privileges" if not input.security.noNewPrivileges

deny contains "runs as root" if object.get(input.security, "user", "root") in {"root", "0"}

deny contains "the node's processes" if input.security.namespaces.pid == "host"

deny contains "the node's memory" if input.security.namespaces.ipc == "host"

deny contains "no filter of system calls" if input.security.seccomp == "unconfined"

is_sensitive(path) if path == "/"

is_sensitive(path) if {
	some prefix in sensitive
	startswith(path, prefix)
}
