//go:build unix

package live

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

func user() string { return strconv.Itoa(os.Geteuid()) }

// private checks that a folder is this user's alone: that of temporary files is open to
// all, and another could have made it.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(s.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a folder of this user's alone (mode 0700); remove it, or name another in SINTER_RUNTIME_DIR", dir)
	}
	return nil
}

// othersFolders are those of all users, for root.
func othersFolders() []string {
	if os.Geteuid() != 0 {
		return nil
	}
	own := map[string]bool{}
	for _, dir := range ownFolders() {
		own[dir] = true
	}
	var list []string
	for _, pattern := range []string{"/run/user/*/sinter", filepath.Join(os.TempDir(), "sinter-[0-9]*")} {
		found, _ := filepath.Glob(pattern)
		for _, dir := range found {
			if !own[dir] {
				list = append(list, dir)
			}
		}
	}
	return list
}

// open opens a file of a folder that may be another user's: it follows no link and does
// not wait for a pipe.
func open(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}
