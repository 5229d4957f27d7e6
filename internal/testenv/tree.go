package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Tree makes a folder with files, by their names in it: a piece of a procfs or sysfs, say. A
// text that begins with "->" is where a symbolic link points to; every other one gets the
// newline that such files end with.
func Tree(t testing.TB, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(name), 0o777)
		if err == nil {
			if to, ok := strings.CutPrefix(text, "->"); ok {
				err = os.Symlink(filepath.FromSlash(to), name)
			} else {
				err = os.WriteFile(name, []byte(text+"\n"), 0o666)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}
