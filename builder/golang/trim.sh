# trim.sh DIR GOROOT TOOL ARGS... is a -toolexec for releases of Go that have no
# -trimpath. They have compilers with one, for a single directory: that of the
# stage or, for the standard library, GOROOT. The linker notes where it runs.
# Build IDs are sums of the names of directories, and say nothing any more. Those
# of the standard library do not end up in programs, and say what is stale.
dir=$1 goroot=$2 tool=$3
shift 3
case $PWD/ in "$goroot"/*) dir=$goroot ;; esac
before=
n=$#
while [ "$n" -gt 0 ]; do
	arg=$1
	shift
	n=$((n - 1))
	case $before in
	-trimpath) arg=$dir ;;
	-buildid) [ "$dir" = "$goroot" ] || arg=- ;;
	esac
	before=$arg
	case $arg in -buildid=*) [ "$dir" = "$goroot" ] || arg=-buildid=- ;; esac
	set -- "$@" "$arg"
done
case $tool in */link) cd / ;; esac
exec "$tool" "$@"
