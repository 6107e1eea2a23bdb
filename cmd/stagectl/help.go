package main

// buildHelp fits one screen. A test holds it against the flags.
const buildHelp = `Build images out of Go packages, or by a Dockerfile.

Usage:  stagectl build [flags] [PACKAGE...]     packages as for go build, default "."
        stagectl build -f DOCKERFILE [flags] [CONTEXT]

  stagectl build ./server                             image.tar on the built-in static base
  stagectl build -f Dockerfile -t app --load .        no daemon builds; plan -f shows what can be
  stagectl build --base alpine -p 8080 --load ./server
  stagectl build -t registry.example.com/team/{name}:v1 --push ./cmd/...

Image
      --base REF            static (default, built in), scratch, a reference, oci:DIR or
                            docker-archive:FILE
  -t, --tag NAME            repeatable; {name} is the binary's name (default {name}:latest)
      --platform P,...      linux/amd64,linux/arm64,… or all of the base's (default: this CPU's)
      --copy SRC:DST[,chmod=0644][,chown=UID:GID]     a file or a directory's contents; repeatable
      --binary-path PATH    where the binary goes (default /app/{name})
      --single              all packages into one image; the first is the entrypoint
      --annotation K=V      of the manifest, or index:K=V
      --compression ALG     gzip (default), zstd or none, with :LEVEL
By a Dockerfile, with --platform, --annotation, --label, --compression and all from Output on
  -f, --file DOCKERFILE     - is standard input    --target STAGE     --build-arg K[=V]
      --build-context N=DIR docker-image://REF or oci-layout://DIR    --allow-host-exec
      --secret id=ID,src=FILE|env=VARIABLE    --ssh default|ID[=SOCKET]
Configuration, as in docker run
  -p, --port P[/PROTO]   -e, --env K=V   --label K=V   --volume PATH     repeatable
  -w, --workdir DIR      -u, --user USER[:GROUP]       --stop-signal SIGNAL
      --entrypoint, --cmd COMMAND                      words or a JSON array
      --health-cmd COMMAND  --health-interval, --health-timeout, --health-start-period DURATION
                            --health-retries N
Compiling
      --ldflags FLAGS       beside -s -w    --debug    keep symbols     --go-tags TAGS
      --allow-dynamic       accept a binary that needs libraries which the base lacks
Output (default image.tar)
  -o, --output SPEC         F.tar, -, type=docker,dest=F.tar, type=oci,dest=F.tar,
                            type=oci,dest=DIR,tar=false, type=registry; repeatable
      --push                to the registry that -t names
      --load[=ENGINE]       into docker, podman or nerdctl
      --iidfile F           --metadata-file F          image ID; digests and names as JSON
Registries, cache and display
      --registry-mirror HOST=MIRROR    --insecure-registry HOST     repeatable
      --cache-dir DIR       --no-cache     --offline   -j, --jobs N
      --progress MODE       auto, tty, plain or json   -q, --quiet

Standard output has one line an output: repository@digest for a push, name:tag for a load, the
path of a file. Credentials are docker's. SOURCE_DATE_EPOCH sets the time of everything.
`

const planHelp = `Show what build would do. Nothing is compiled and nothing is written.

Usage:  stagectl plan [build's flags] [PACKAGE...]
                the plan as JSON
        stagectl plan --dockerfile [build's flags] [PACKAGE...]
                the multi-stage Dockerfile by which Docker makes the same images
        stagectl plan -f DOCKERFILE [build's flags] [CONTEXT]
                which commands are native, emulated or need a container; with --json, the plan

The flags are those of build: stagectl build --help
`
