package plan

import "strconv"

// Position is the place of an instruction in the file that it was read from.
type Position struct {
	// File is the name of the file, as it was given.
	File string `json:"file"`
	// Line is the first line, from 1.
	Line int `json:"line"`
	// EndLine is the last line, that of a here-document's end included.
	EndLine int `json:"endLine"`
	// Text is the instruction on one line, as the user wrote it, without what
	// follows its first words where it is long.
	Text string `json:"text"`
}

// String is FILE:LINE.
func (p *Position) String() string { return p.File + ":" + strconv.Itoa(p.Line) }

// Run runs a command in the stage.
type Run struct {
	// Script is the text of the shell form, or of its here-document, with
	// line continuations joined. It is the last argument of Shell.
	Script string `json:"script,omitempty"`
	// Lines has, for each line of Script, the pieces that it was joined from.
	Lines []Line `json:"lines,omitempty"`
	// Exec, unless nil, is the exec form, and there is no Script.
	Exec []string `json:"exec,omitzero"`
	// Shell is the one in force; nil is /bin/sh -c.
	Shell []string `json:"shell,omitempty"`
	// Env has KEY=VALUE of all variables in force: the base's, ENV and ARG.
	Env []string `json:"env,omitempty"`
	// Dir is the working directory, absolute.
	Dir string `json:"dir"`
	// User runs the command, verbatim; empty is root.
	User string `json:"user,omitempty"`
	// Mounts are there while the command runs.
	Mounts []Mount `json:"mounts,omitempty"`
	// Files are in PipesDir while the command runs, read-only and with mode 0755.
	Files []Inline `json:"files,omitempty"`
	// Network is "none", "host" or, for the default, empty.
	Network string `json:"network,omitempty"`
	// Security is "insecure" or, for the default, empty.
	Security string `json:"security,omitempty"`
	// Devices are the names of CDI devices that the command asks for.
	Devices []string `json:"devices,omitempty"`
}

// PipesDir is where a command finds the Files of its Run.
const PipesDir = "/dev/pipes"

// Line says where a part of a Script comes from.
type Line struct {
	// Offset of the part's first byte in the script.
	Offset int `json:"offset"`
	// Line in the file, from 1.
	Line int `json:"line"`
}

// LineAt is the line in the file of the byte of the script at offset, or 0
// where that is not known.
func (r *Run) LineAt(offset int) int {
	line := 0
	for _, l := range r.Lines {
		if l.Offset > offset {
			break
		}
		line = l.Line
	}
	return line
}

// FromKind tells apart what files are copied or mounted from.
type FromKind string

// What files come from.
const (
	// FromContext is the build context or, with a name, another one.
	FromContext FromKind = "context"
	// FromStage is an earlier stage.
	FromStage FromKind = "stage"
	// FromImage is an image that no stage is made from.
	FromImage FromKind = "image"
)

// Kinds of a Mount.
const (
	MountBind   = "bind"
	MountCache  = "cache"
	MountTmpfs  = "tmpfs"
	MountSecret = "secret"
	MountSSH    = "ssh"
)

// Mount is something put over a path of the stage while a command runs. What
// is written there does not end up in the image.
type Mount struct {
	// Type is one of the kinds above.
	Type string `json:"type"`
	// Target is the absolute path in the stage; empty for a secret that is
	// only a variable.
	Target string `json:"target,omitempty"`
	// Source is the path in From of a bind or cache mount, from its root.
	Source string `json:"source,omitempty"`
	// From is empty for the build context, otherwise the name of a stage, an
	// image or a context, by FromKind. Of a cache, it is what it starts with.
	From string `json:"from,omitempty"`
	// FromKind is empty for what has no source.
	FromKind FromKind `json:"fromKind,omitempty"`
	// ID of a cache, secret or socket.
	ID string `json:"id,omitempty"`
	// ReadOnly refuses writes.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Required makes it an error that there is no such secret or socket.
	Required bool `json:"required,omitempty"`
	// Sharing of a cache by builds: "private", "locked" or, for shared, empty.
	Sharing string `json:"sharing,omitempty"`
	// Size that a tmpfs may grow to, in bytes; 0 is no limit.
	Size int64 `json:"size,omitempty"`
	// Env is the variable that has the secret.
	Env string `json:"env,omitempty"`
	// Mode is octal, or empty for the kind's own.
	Mode string `json:"mode,omitempty"`
	// UID and GID own a cache, a secret's file or a socket.
	UID int `json:"uid,omitempty"`
	GID int `json:"gid,omitempty"`
}

// Inline is a file whose content is in the plan itself.
type Inline struct {
	// Name of the file, relative to where it goes.
	Name string `json:"name"`
	// Data is all of its content.
	Data string `json:"data"`
}

// Files is one COPY or ADD of a Dockerfile, which differs from Copy: sources
// have wildcards, and where they go depends on what the stage has there.
type Files struct {
	// From is empty for the build context, otherwise the name of a stage, an
	// image or a context, by FromKind.
	From string `json:"from,omitempty"`
	// FromKind says what From names.
	FromKind FromKind `json:"fromKind"`
	// Sources are paths in From, with the wildcards of path.Match, taken from
	// its root whether they start with a slash or not. A directory's contents
	// are copied, not itself. With Add they may be URLs.
	Sources []string `json:"sources,omitempty"`
	// Inline are more files to copy, with mode 0644.
	Inline []Inline `json:"inline,omitempty"`
	// Dest is absolute. With a trailing slash it is a directory to copy into.
	Dest string `json:"dest"`
	// Owner is USER[:GROUP], by name or number, of all that is copied. Without
	// it, what comes from a context or URL is root's and the rest stays whose
	// it is.
	Owner string `json:"owner,omitempty"`
	// Mode is octal or, as of chmod, symbolic; empty keeps that of the source.
	Mode string `json:"mode,omitempty"`
	// Link copies as if the stage were empty: no symlink of it is followed.
	Link bool `json:"link,omitempty"`
	// Parents keeps the directories of a source, from its "/./" on.
	Parents bool `json:"parents,omitempty"`
	// Exclude are patterns, as of .dockerignore, of what is left out.
	Exclude []string `json:"exclude,omitempty"`
	// Add is set for ADD: archives of a context are extracted, and sources
	// may be URLs and git repositories.
	Add bool `json:"add,omitempty"`
	// Checksum of the one URL, or the commit of the git repository.
	Checksum string `json:"checksum,omitempty"`
	// KeepGitDir keeps .git of a git repository.
	KeepGitDir bool `json:"keepGitDir,omitempty"`
	// Unpack, unless nil, decides whether archives are extracted, those
	// of URLs included.
	Unpack *bool `json:"unpack,omitempty"`
}

// MakeDir makes a directory and its parents, with mode 0755. What is there
// already is left as it is.
type MakeDir struct {
	// Path is absolute.
	Path string `json:"path"`
	// User owns what is made, verbatim; empty is root.
	User string `json:"user,omitempty"`
}
