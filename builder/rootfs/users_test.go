package rootfs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/rootfs"
)

func withUsers(t *testing.T) *rootfs.FS {
	t.Helper()
	f, _ := newFS(t, lower("-rw-r--r-- 0:0 /etc/passwd", "-rw-r--r-- 0:0 /etc/group"))
	must(t, f.WriteFile("/etc/passwd", []byte(strings.Join([]string{
		"root:x:0:0:root:/root:/bin/sh", "", "# a comment", "app:x:1000:100:App,,,:/home/app:/bin/ash", "app:x:7:7:again:/:/",
		"123:x:55:56::/:", "short:x", "odd:x:nan:5:::",
	}, "\n")), 0, rootfs.Root))
	must(t, f.WriteFile("/etc/group", []byte("root:x:0:\nwheel:x:10:root,app\nweb:x:33:app,\n5:x:77:\n"), 0, rootfs.Root))
	return f
}

func TestOwner(t *testing.T) {
	tests := []struct {
		spec    string
		want    rootfs.Owner
		wantErr string
	}{
		{"5", rootfs.Owner{UID: 5, GID: 5}, ""},
		{"5:", rootfs.Owner{UID: 5, GID: 5}, ""},
		{"5:6", rootfs.Owner{UID: 5, GID: 6}, ""},
		{":6", rootfs.Owner{UID: 0, GID: 6}, ""},
		{"root", rootfs.Root, ""},
		{"app", rootfs.Owner{UID: 1000, GID: 100}, ""},
		{"app:web", rootfs.Owner{UID: 1000, GID: 33}, ""},
		{"app:root", rootfs.Owner{UID: 1000, GID: 0}, ""},
		{"1000", rootfs.Owner{UID: 1000, GID: 1000}, ""}, // not looked up
		{"123", rootfs.Owner{UID: 123, GID: 123}, ""},
		{"1:5", rootfs.Owner{UID: 1, GID: 5}, ""},
		{"short", rootfs.Root, ""},
		{"odd", rootfs.Owner{UID: 0, GID: 5}, ""},
		{"nobody", rootfs.Root, `finding owner "nobody": unknown user nobody: /etc/passwd does not have it`},
		{"app:nogroup", rootfs.Root, `finding owner "app:nogroup": unknown group nogroup: /etc/group does not have it`},
		{"-1", rootfs.Root, "-1 is not between 0 and 2147483647"},
		{"1:4294967295", rootfs.Root, "4294967295 is not between 0 and 2147483647"},
		{"", rootfs.Root, "there is neither a user nor a group"},
		{":", rootfs.Root, "there is neither a user nor a group"},
	}
	for _, tt := range tests {
		t.Run(tt.spec, func(t *testing.T) {
			got, err := withUsers(t).Owner(tt.spec)
			if tt.wantErr != "" {
				wantError(t, err, tt.wantErr)
			} else if err != nil || got != tt.want {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestOwnerWithoutFiles(t *testing.T) {
	f, _ := newFS(t, nil)
	_, err := f.Owner("app")
	var unknown *rootfs.UnknownError
	if !errors.As(err, &unknown) || unknown.Kind != "user" || unknown.Name != "app" {
		t.Errorf("got error %v", err)
	}
	if o, err := f.Owner("4:5"); err != nil || o != (rootfs.Owner{UID: 4, GID: 5}) {
		t.Errorf("got %v, %v", o, err)
	}
}

func TestLogin(t *testing.T) {
	appUser := rootfs.User{Name: "app", UID: 1000, GID: 100, Comment: "App,,,", Home: "/home/app", Shell: "/bin/ash"}
	tests := []struct {
		spec    string
		want    rootfs.User
		wantErr string
	}{
		{"app", appUser, ""},
		{"1000", appUser, ""},
		{"", rootfs.User{Name: "root", Comment: "root", Home: "/root", Shell: "/bin/sh"}, ""},
		{"4000", rootfs.User{UID: 4000, Home: "/"}, ""},
		{"4000:web", rootfs.User{UID: 4000, GID: 33, Home: "/"}, ""},
		{"123", rootfs.User{UID: 123, Home: "/"}, ""},
		{"nobody", rootfs.User{}, `finding user "nobody": unknown user nobody`},
		{"app:nogroup", rootfs.User{}, "unknown group nogroup"},
	}
	for _, tt := range tests {
		t.Run(tt.spec, func(t *testing.T) {
			got, err := withUsers(t).Login(tt.spec)
			if tt.wantErr != "" {
				wantError(t, err, tt.wantErr)
				return
			}
			must(t, err)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("user (-want +got):\n%s", diff)
			}
		})
	}
	ids, err := withUsers(t).GroupsOf("app")
	must(t, err)
	if diff := cmp.Diff([]int{10, 33}, ids); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// The files of a stage may be anything.
func TestHostileUsers(t *testing.T) {
	f, _ := newFS(t, nil)
	must(t, f.Mkdir("/etc", 0o755, rootfs.Root))
	must(t, f.Symlink("../../../../../../../../etc/passwd", "/etc/passwd", rootfs.Root))
	_, err := f.Owner("root2")
	wantError(t, err, "too many levels of symbolic links")
	must(t, f.Remove("/etc/passwd"))
	must(t, f.Mknod("/etc/passwd", rootfs.Info{Mode: 0o644 | 1<<25})) // a pipe
	_, err = f.Owner("root2")
	wantError(t, err, "open /etc/passwd: ")
	must(t, f.Remove("/etc/passwd"))
	must(t, f.WriteFile("/etc/passwd", make([]byte, 11<<20), 0o644, rootfs.Root))
	_, err = f.Owner("root2")
	wantError(t, err, "token too long")
}
