package cache

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(t *testing.T) *Cache {
	c := Open(filepath.Join(t.TempDir(), "kernels"))
	c.Warn = func(m string) { t.Error(m) }
	return c
}

func files(t *testing.T, c *Cache) []string {
	t.Helper()
	l, err := filepath.Glob(filepath.Join(c.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestGetPut(t *testing.T) {
	c := open(t)
	if _, ok := c.Get("a"); ok {
		t.Error("an empty cache has something")
	}
	c.Put("a", []byte("first"))
	c.Put("b", nil)
	c.Put("a", []byte("second"))
	if v, ok := c.Get("a"); !ok || string(v) != "second" {
		t.Errorf("a is %q, %v", v, ok)
	}
	if v, ok := c.Get("b"); !ok || len(v) != 0 {
		t.Errorf("b is %q, %v", v, ok)
	}
	if v, ok := Open(c.dir).Get("a"); !ok || string(v) != "second" {
		t.Errorf("opened again, a is %q, %v", v, ok)
	}
}

// A file that was cut, or in which a single byte changed, or that belongs to another key,
// is no entry, and is gone afterwards.
func TestDamaged(t *testing.T) {
	c := open(t)
	c.Put("key", []byte("compiled code"))
	path, _ := c.path("key")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, file []byte) {
		t.Helper()
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
		if v, ok := c.Get("key"); ok {
			t.Errorf("%s: %q is taken", what, v)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: still there", what)
		}
	}
	for n := range whole {
		try(fmt.Sprintf("cut to %d bytes", n), whole[:n])
		changed := bytes.Clone(whole)
		changed[n] ^= 4
		try(fmt.Sprintf("byte %d changed", n), changed)
	}
	c.Put("other", []byte("code"))
	other, _ := c.path("other")
	file, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	try("another's", file)
	c.Put("key", []byte("compiled code"))
	if v, ok := c.Get("key"); !ok || string(v) != "compiled code" {
		t.Errorf("put again, it is %q, %v", v, ok)
	}
}

// What was used longest ago goes first, and the cache stays below its limit.
func TestLimit(t *testing.T) {
	c := open(t)
	c.Limit = 10 * int64(header+1000)
	data := make([]byte, 1000)
	for i := range 8 {
		c.Put(fmt.Sprint(i), data)
		path, _ := c.path(fmt.Sprint(i))
		then := time.Now().Add(time.Duration(i-100) * time.Minute)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := c.Get("0"); !ok { // now the latest
		t.Fatal("0 is gone too early")
	}
	for i := 8; i < 12; i++ {
		c.Put(fmt.Sprint(i), data)
	}
	total := int64(0)
	for _, f := range files(t, c) {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > c.Limit {
		t.Errorf("%d bytes, the limit is %d", total, c.Limit)
	}
	for key, want := range map[string]bool{"0": true, "1": false, "2": false, "7": true, "11": true} {
		if _, ok := c.Get(key); ok != want {
			t.Errorf("%s is there: %v, want %v", key, ok, want)
		}
	}
	c.Put("too large", make([]byte, c.Limit))
	if _, ok := c.Get("too large"); ok {
		t.Error("an entry larger than the cache was kept")
	}
}

// A folder that cannot be made keeps nothing, and says so once.
func TestUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c := Open(filepath.Join(file, "kernels"))
	said := 0
	c.Warn = func(m string) {
		said++
		if !strings.Contains(m, file) || !strings.Contains(m, "SINTER_KERNEL_CACHE") {
			t.Errorf("said: %s", m)
		}
	}
	for range 3 {
		c.Put("a", []byte("x"))
		if _, ok := c.Get("a"); ok {
			t.Error("something was kept")
		}
	}
	if said != 1 {
		t.Errorf("it was said %d times", said)
	}
	off := Open("")
	off.Put("a", nil)
	if _, ok := off.Get("a"); ok {
		t.Error("a cache without folder keeps something")
	}
}

// Processes and goroutines write and read the same entries at once. Whatever is read is
// whole.
func TestConcurrent(t *testing.T) {
	if dir := os.Getenv("SINTER_TEST_CACHE"); dir != "" {
		c := Open(dir)
		c.Warn, c.Limit = func(m string) { t.Error(m) }, 200000
		hammer(t, c)
		return
	}
	c := open(t)
	c.Limit = 200000
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			cmd := exec.Command(self, "-test.run=^TestConcurrent$")
			cmd.Env = append(os.Environ(), "SINTER_TEST_CACHE="+c.dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	for range 2 {
		wg.Go(func() { hammer(t, c) })
	}
	wg.Wait()
	for _, f := range files(t, c) {
		if !strings.HasSuffix(f, suffix) {
			t.Errorf("%s was left behind", f)
		}
	}
	if n := len(files(t, c)); n == 0 || n > 4 {
		t.Errorf("%d entries of 4", n)
	}
}

// hammer puts and gets four entries, which the limit makes go again and again.
func hammer(t *testing.T, c *Cache) {
	for i := range 200 {
		key := fmt.Sprint("key ", i%4)
		want := bytes.Repeat([]byte(key), 10000)
		if v, ok := c.Get(key); ok && !bytes.Equal(v, want) {
			t.Fatalf("%s is %d bytes of something else", key, len(v))
		}
		c.Put(key, want)
	}
}
