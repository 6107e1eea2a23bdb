#!/usr/bin/env bash
# Checks that the programs which the end-to-end tests run are there. What is
# missing is installed where that is possible without asking: as root, with
# apt-get. Elsewhere it is listed, and the exit status is 1.
#
# Each need is WHAT:PACKAGE[,PACKAGE…]: a command or an absolute path, and the
# Debian packages that have it, of which the first that this Debian knows is
# taken. More needs can be given as arguments, as .ci/run does.
set -euo pipefail

needs=(
	dockerd:docker.io
	"docker:docker-cli,docker.io" # Debian 13 has the client apart
	docker-registry:docker-registry
	htpasswd:apache2-utils
	openssl:openssl
	skopeo:skopeo
	podman:podman
	umoci:umoci
	crun:crun
	busybox:busybox-static
	qemu-aarch64-static:qemu-user-static
	"$@"
)

# Daemons are here, and on an ordinary user's PATH are not.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# is_there WHAT
is_there() {
	case $1 in
	/*) [[ -e $1 ]] ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

# list_missing prints the needs that are not met, one a line.
list_missing() {
	local need
	for need in "${needs[@]}"; do
		is_there "${need%%:*}" || echo "$need"
	done
}

# choose_package NEED prints the first of its packages that apt knows, or the
# last one if it knows none, for apt to complain about.
choose_package() {
	local packages package
	IFS=, read -ra packages <<<"${1#*:}"
	for package in "${packages[@]}"; do
		if apt-cache show "$package" >/dev/null 2>&1; then
			break
		fi
	done
	echo "$package"
}

install_missing() {
	local need packages=()
	apt-get -qq update
	for need in "${missing[@]}"; do
		packages+=("$(choose_package "$need")")
	done
	echo "installing ${packages[*]}"
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${packages[@]}" </dev/null
}

mapfile -t missing < <(list_missing)
if ((${#missing[@]} == 0)); then
	exit 0
fi
if ((EUID == 0)) && command -v apt-get >/dev/null; then
	install_missing
	mapfile -t missing < <(list_missing)
fi
if ((${#missing[@]} > 0)); then
	echo "these are missing, and only root on a system with apt-get gets them installed:" >&2
	for need in "${missing[@]}"; do
		echo "  ${need%%:*} (Debian package ${need#*:})" >&2
	done
	exit 1
fi
