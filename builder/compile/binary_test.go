package compile_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
)

// elf64 describes a 64-bit ELF file that has what a binary is judged by.
type elf64 struct {
	machine elf.Machine
	big     bool
	typ     elf.Type
	interp  string
	dynamic []elf.Dyn64
}

// bytes are the header, the program headers, the section headers and then what
// those are about.
func (e elf64) bytes(t *testing.T) []byte {
	t.Helper()
	var order binary.ByteOrder = binary.LittleEndian
	data := elf.ELFDATA2LSB
	if e.big {
		order, data = binary.BigEndian, elf.ELFDATA2MSB
	}
	var progs []elf.Prog64
	var sections []elf.Section64
	content := bytes.NewBuffer([]byte{0}) // the section with no names
	const start = 64 + 56 + 3*64
	if e.interp != "" {
		progs = append(progs, elf.Prog64{Type: uint32(elf.PT_INTERP), Off: start + 1, Filesz: uint64(len(e.interp)) + 1})
		content.WriteString(e.interp + "\x00")
	}
	if e.dynamic != nil {
		sections = append(sections, elf.Section64{}, elf.Section64{
			Type: uint32(elf.SHT_DYNAMIC), Off: start + uint64(content.Len()), Size: uint64(16 * len(e.dynamic)), Entsize: 16,
		}, elf.Section64{Type: uint32(elf.SHT_STRTAB), Off: start, Size: 1})
		if err := binary.Write(content, order, e.dynamic); err != nil {
			t.Fatal(err)
		}
	}
	h := elf.Header64{
		Type: uint16(e.typ), Machine: uint16(e.machine), Version: 1, Ehsize: 64,
		Phoff: 64, Phentsize: 56, Phnum: uint16(len(progs)),
		Shoff: 64 + 56, Shentsize: 64, Shnum: uint16(len(sections)),
	}
	if len(sections) == 0 {
		h.Shoff = 0
	} else {
		h.Shstrndx = 2
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(data), 1
	out := make([]byte, start)
	put := func(at int, v any) {
		var b bytes.Buffer
		if err := binary.Write(&b, order, v); err != nil {
			t.Fatal(err)
		}
		copy(out[at:], b.Bytes())
	}
	put(0, h)
	put(64, progs)
	put(64+56, sections)
	return append(out, content.Bytes()...)
}

func TestInspect(t *testing.T) {
	dir := tree(t, hello)
	library := []elf.Dyn64{{Tag: int64(elf.DT_SONAME)}, {}}
	pie := []elf.Dyn64{{Tag: int64(elf.DT_FLAGS_1), Val: uint64(elf.DF_1_NOW | elf.DF_1_PIE)}, {}}
	now := []elf.Dyn64{{Tag: int64(elf.DT_FLAGS_1), Val: uint64(elf.DF_1_NOW)}, {}}
	x86 := func(typ elf.Type, interp string, dynamic []elf.Dyn64) []byte {
		return elf64{machine: elf.EM_X86_64, typ: typ, interp: interp, dynamic: dynamic}.bytes(t)
	}
	tests := map[string]struct {
		platform v1.Platform // amd64 where empty
		content  []byte
		name     string // hello where empty
		interp   string
		want     string // the error after what was being done
	}{
		"a static program":         {content: x86(elf.ET_EXEC, "", nil)},
		"a static-pie program":     {content: x86(elf.ET_DYN, "", pie)},
		"a dynamic program":        {content: x86(elf.ET_EXEC, "/lib64/ld-linux-x86-64.so.2", library), interp: "/lib64/ld-linux-x86-64.so.2"},
		"a dynamic pie program":    {content: x86(elf.ET_DYN, "/lib/ld-musl-x86_64.so.1", now), interp: "/lib/ld-musl-x86_64.so.1"},
		"a big-endian program":     {content: elf64{machine: elf.EM_S390, big: true, typ: elf.ET_EXEC}.bytes(t), platform: v1.Platform{OS: "linux", Architecture: "s390x"}},
		"a shared library":         {content: x86(elf.ET_DYN, "", library), want: "the binary is no program, but a shared library: -buildmode must leave a program"},
		"a shared library, flags":  {content: x86(elf.ET_DYN, "", now), want: "the binary is no program, but a shared library: -buildmode must leave a program"},
		"a library without much":   {content: x86(elf.ET_DYN, "", nil), want: "the binary is no program, but a shared library: -buildmode must leave a program"},
		"an object":                {content: x86(elf.ET_REL, "", nil), want: "the binary is no program, but a relocatable object: -buildmode must leave a program"},
		"a core dump":              {content: x86(elf.ET_CORE, "", nil), want: "the binary is no program, but a ET_CORE: -buildmode must leave a program"},
		"another architecture":     {content: elf64{machine: elf.EM_AARCH64, typ: elf.ET_EXEC}.bytes(t), want: "the binary is for EM_AARCH64 (ELFCLASS64, ELFDATA2LSB), not for linux/amd64"},
		"another byte order":       {content: elf64{machine: elf.EM_PPC64, big: true, typ: elf.ET_EXEC}.bytes(t), platform: v1.Platform{OS: "linux", Architecture: "ppc64le"}, want: "the binary is for EM_PPC64 (ELFCLASS64, ELFDATA2MSB), not for linux/ppc64le"},
		"an architecture unknown":  {content: elf64{machine: elf.EM_SPARCV9, typ: elf.ET_EXEC}.bytes(t), platform: v1.Platform{OS: "linux", Architecture: "sparc64"}},
		"an endless interpreter":   {content: x86(elf.ET_EXEC, "/"+strings.Repeat("x", 5000), nil), want: "reading the binary: its interpreter has no sensible name"},
		"a truncated program":      {content: x86(elf.ET_EXEC, "/lib/ld", nil)[:80], want: "the binary is no ELF file: "},
		"a script":                 {content: []byte("#!/bin/sh\n" + strings.Repeat("\n", 100)), want: "the binary is no ELF file: bad magic number '[35 33 47 98]' in record at byte 0x0"},
		"an archive of -buildmode": {content: []byte("!<arch>\n"), name: "hello.a", want: "the go command left no file hello: -buildmode must leave a program"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "content")
			if err := os.WriteFile(file, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			platform, made := amd64, "hello"
			if tt.platform.OS != "" {
				platform = tt.platform
			}
			if tt.name != "" {
				made = tt.name
			}
			for _, outputs := range []string{"", t.TempDir()} {
				c := fake("copy", made+":"+file)
				c.Outputs = outputs
				out, err := c.Build(t.Context(), platform, []plan.Compile{{Dir: dir, Package: ".", Binary: "hello"}})
				if tt.want != "" {
					want := "compiling . for " + platform.String() + ": " + tt.want
					if err == nil || !strings.HasPrefix(err.Error(), want) {
						t.Errorf("got  %v\nwant %s", err, want)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				defer out.Close()
				if b := out.List[0]; b.Interpreter != tt.interp || b.Size != int64(len(tt.content)) {
					t.Errorf("interpreter %q, size %d, want %q, %d", b.Interpreter, b.Size, tt.interp, len(tt.content))
				}
			}
		})
	}
}
