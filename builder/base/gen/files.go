package main

// The users. 65534 is the kernel's overflow user and Debian's nobody; 65532 is
// the nonroot user of the distroless images, so that volumes and policies
// written for those go on working.
const nonroot = 65532

const passwd = `root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
`

const group = `root:x:0:
nobody:x:65534:
nonroot:x:65532:
`

// Without it, the C library and Go alike would ask DNS before /etc/hosts,
// where the engine writes the container's own name.
const nsswitch = `hosts: files dns
`

const osRelease = `NAME="stagectl static"
ID=stagectl
PRETTY_NAME="stagectl static"
`

// system is what a static binary may expect of the system below it.
func system(roots []byte) []entry {
	return []entry{
		{name: "etc/group", mode: 0o644, data: []byte(group)},
		{name: "etc/nsswitch.conf", mode: 0o644, data: []byte(nsswitch)},
		{name: "etc/os-release", mode: 0o644, data: []byte(osRelease)},
		{name: "etc/passwd", mode: 0o644, data: []byte(passwd)},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, data: roots},
		{name: "home/nonroot/", mode: 0o700, owner: nonroot},
		{name: "root/", mode: 0o700},
		{name: "tmp/", mode: 0o1777},
	}
}
