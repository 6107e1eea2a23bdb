package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxSecret is how large a secret may be, as with docker.
const maxSecret = 500 << 10

// secretSpec is a parsed --secret.
type secretSpec struct{ id, file, variable string }

// parseSecret reads the fields that docker build has: id, and src or env. Without
// either, it is the variable of that name or, where there is none, the file.
func parseSecret(s string, getenv func(string) string) (secretSpec, error) {
	fields, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return secretSpec{}, errors.New("it is id=ID,src=FILE or id=ID,env=VARIABLE")
	}
	var spec secretSpec
	kind, src := "", ""
	for _, field := range fields {
		key, value, _ := strings.Cut(field, "=")
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "id":
			spec.id = value
		case "src", "source":
			src = value
		case "env":
			spec.variable = value
		case "type":
			kind = value
		default:
			return spec, fmt.Errorf("unknown field %q: there are id, src, env and type", key)
		}
	}
	switch {
	case spec.id == "":
		return spec, errors.New("it has no id=ID, by which a RUN names it")
	case kind != "" && kind != "file" && kind != "env":
		return spec, fmt.Errorf("unknown type %q: there are file and env", kind)
	case src != "" && spec.variable != "":
		return spec, errors.New("it is src=FILE or env=VARIABLE, not both")
	case src != "" && kind == "env":
		spec.variable = src // as with docker
	case src != "":
		spec.file = src
	case spec.variable == "" && kind != "file" && getenv(spec.id) != "":
		spec.variable = spec.id
	case spec.variable == "" && kind == "env":
		spec.variable = spec.id
	case spec.variable == "":
		spec.file = spec.id
	}
	return spec, nil
}

// readSecrets reads what --secret and --ssh name. No error has what is in them.
func (f *dockerFlags) readSecrets(a *app, dir string, w *workshop) error {
	w.secrets, w.ssh = map[string][]byte{}, map[string]string{}
	for _, s := range f.secrets {
		spec, err := parseSecret(s, a.Getenv)
		if err != nil {
			return usagef("--secret: %w", err)
		}
		if _, twice := w.secrets[spec.id]; twice {
			return usagef("--secret: id=%s is given twice", spec.id)
		}
		if spec.variable != "" {
			value := a.Getenv(spec.variable)
			if value == "" {
				return fmt.Errorf("--secret id=%s: the variable %s is not set", spec.id, spec.variable)
			}
			w.secrets[spec.id] = []byte(value)
			continue
		}
		if w.secrets[spec.id], err = readSecret(dir, spec.file); err != nil {
			return fmt.Errorf("--secret id=%s: %w", spec.id, err)
		}
	}
	for _, s := range f.ssh {
		id, socket, given := strings.Cut(s, "=")
		if id == "" {
			return usagef("--ssh %q: it is default or ID, with =SOCKET behind it or not", s)
		}
		if !given {
			if socket = a.Getenv("SSH_AUTH_SOCK"); socket == "" {
				return fmt.Errorf("--ssh %s: there is no ssh agent: SSH_AUTH_SOCK is not set", id)
			}
		}
		info, err := os.Stat(socket)
		if err != nil {
			return fmt.Errorf("--ssh %s: %w", id, err)
		}
		if info.Mode().Type() != fs.ModeSocket {
			return usagef("--ssh %s: %s is not the socket of an agent; give a key to one with ssh-add", id, socket)
		}
		w.ssh[id] = socket
	}
	return nil
}

func readSecret(dir, name string) (_ []byte, err error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err == nil && len(content) > maxSecret {
		err = fmt.Errorf("%s is larger than %d kB, which is the limit", name, maxSecret>>10)
	}
	return content, err
}
