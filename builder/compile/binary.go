package compile

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Binary is a linked program on the host's disk.
type Binary struct {
	// Path on the host, empty where it was remembered and is not there.
	Path string
	// Digest is the SHA-256 of the content, in hexadecimal.
	Digest string
	// Size in bytes.
	Size int64
	// Interpreter that the kernel starts the program through, as
	// /lib64/ld-linux-x86-64.so.2; empty where the program is static.
	Interpreter string

	// remake compiles what was remembered.
	remake func(context.Context) (path string, err error)
}

type machine struct {
	machine elf.Machine
	class   elf.Class
	data    elf.Data
}

// machines are the ELF headers of the architectures.
var machines = map[string]machine{
	"386":      {elf.EM_386, elf.ELFCLASS32, elf.ELFDATA2LSB},
	"amd64":    {elf.EM_X86_64, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"arm":      {elf.EM_ARM, elf.ELFCLASS32, elf.ELFDATA2LSB},
	"arm64":    {elf.EM_AARCH64, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"loong64":  {elf.EM_LOONGARCH, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"mips64":   {elf.EM_MIPS, elf.ELFCLASS64, elf.ELFDATA2MSB},
	"mips64le": {elf.EM_MIPS, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"ppc64":    {elf.EM_PPC64, elf.ELFCLASS64, elf.ELFDATA2MSB},
	"ppc64le":  {elf.EM_PPC64, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"riscv64":  {elf.EM_RISCV, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"s390x":    {elf.EM_S390, elf.ELFCLASS64, elf.ELFDATA2MSB},
}

// inspect checks that the file is a program for the platform.
func inspect(name string, p v1.Platform) (*Binary, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the go command left no file %s: -buildmode must leave a program", filepath.Base(name))
	}
	if err != nil {
		return nil, fmt.Errorf("finding the binary: %w", err)
	}
	f, err := elf.Open(name)
	if err != nil {
		return nil, fmt.Errorf("the binary is no ELF file: %w", err)
	}
	defer func() { _ = f.Close() }()
	got := machine{f.Machine, f.Class, f.Data}
	if want, ok := machines[p.Architecture]; ok && got != want {
		return nil, fmt.Errorf("the binary is for %s (%s, %s), not for %s", f.Machine, f.Class, f.Data, p)
	}
	interp, err := interpreter(f)
	if err != nil {
		return nil, fmt.Errorf("reading the binary: %w", err)
	}
	if !isProgram(f, interp) {
		return nil, fmt.Errorf("the binary is no program, but a %s: -buildmode must leave a program", typeName(f.Type))
	}
	return &Binary{Path: name, Size: info.Size(), Interpreter: interp}, nil
}

// isProgram tells programs from libraries. Both a library and a program that
// may be loaded anywhere are ET_DYN; the latter has an interpreter or, where it
// is static, says that it is one.
func isProgram(f *elf.File, interp string) bool {
	if f.Type != elf.ET_DYN {
		return f.Type == elf.ET_EXEC
	}
	flags, err := f.DynValue(elf.DT_FLAGS_1)
	return interp != "" || err == nil && len(flags) > 0 && elf.DynFlag1(flags[0])&elf.DF_1_PIE != 0
}

func typeName(t elf.Type) string {
	switch t {
	case elf.ET_DYN:
		return "shared library"
	case elf.ET_REL:
		return "relocatable object"
	}
	return t.String()
}

// interpreter reads PT_INTERP. A program without it is started by the kernel
// alone, and so is static.
func interpreter(f *elf.File) (string, error) {
	for _, prog := range f.Progs {
		if prog.Type != elf.PT_INTERP {
			continue
		}
		if prog.Filesz > 4096 { // PATH_MAX
			return "", errors.New("its interpreter has no sensible name")
		}
		raw, err := io.ReadAll(prog.Open())
		if err != nil {
			return "", err
		}
		return strings.TrimRight(string(raw), "\x00"), nil
	}
	return "", nil
}
