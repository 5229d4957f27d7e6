// Package cache keeps compiled kernels on disk, so that a program that has run once
// starts without compiling.
//
// An entry is a file, named by the hash of its key; the key is everything that the
// compiled code depends on: its text, the compiler and its version, the options, the
// device. Files are written under another name and renamed, so that processes may write
// the same entry at once and a reader sees all of it or nothing. Every file begins with
// the hash of what follows; one that does not fit is removed and counts as absent. When
// the folder has grown over its limit, the entries that were used longest ago go.
//
// The cache never fails: what cannot be read is absent, and what cannot be written is
// not kept, which is said once.
package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limit is the size, in bytes, that a cache is kept below.
const Limit = 1 << 30

// Cache is a folder of entries. Its methods may be called from several goroutines.
type Cache struct {
	// Limit is the most bytes that the entries may take together.
	Limit int64
	// Warn is told, once, why nothing can be kept.
	Warn func(message string)

	dir  string
	once sync.Once

	mu   sync.Mutex
	size int64 // of the folder, as far as this process knows; -1: not yet
}

// Default is the cache in the user's folder for such things, as $XDG_CACHE_HOME/sinter/kernels
// on Linux. SINTER_KERNEL_CACHE names another folder, or is "off".
func Default() *Cache {
	dir := os.Getenv("SINTER_KERNEL_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			c := Open("")
			c.fail(err)
			return c
		}
		dir = filepath.Join(user, "sinter", "kernels")
	}
	if dir == "off" {
		dir = ""
	}
	return Open(dir)
}

// Open is the cache in a folder, which is made when something is put there. The cache in
// "" keeps nothing.
func Open(dir string) *Cache {
	return &Cache{Limit: Limit, Warn: func(m string) { slog.Warn(m) }, dir: dir, size: -1}
}

// Dir is the folder, "" if nothing is kept.
func (c *Cache) Dir() string { return c.dir }

const (
	suffix = ".kernel"
	magic  = "sinter compiled kernel 1\n"
	header = len(magic) + 2*sha256.Size
)

func (c *Cache) path(key string) (path string, hash [sha256.Size]byte) {
	hash = sha256.Sum256([]byte(key))
	return filepath.Join(c.dir, hex.EncodeToString(hash[:])+suffix), hash
}

// Get is what was put under a key.
func (c *Cache) Get(key string) (data []byte, ok bool) {
	if c.dir == "" {
		return nil, false
	}
	path, hash := c.path(key)
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	if len(file) >= header && string(file[:len(magic)]) == magic {
		sum := sha256.Sum256(file[len(magic)+sha256.Size:])
		if bytes.Equal(sum[:], file[len(magic):][:sha256.Size]) && bytes.Equal(hash[:], file[header-sha256.Size:header]) {
			now := time.Now()
			os.Chtimes(path, now, now) // it was used; if that cannot be noted, it goes earlier
			return file[header:], true
		}
	}
	os.Remove(path)
	return nil, false
}

// Put keeps data under a key.
func (c *Cache) Put(key string, data []byte) {
	size := int64(header + len(data))
	if c.dir == "" || size > c.Limit {
		return
	}
	path, hash := c.path(key)
	body := append(hash[:], data...)
	sum := sha256.Sum256(body)
	if err := c.write(path, []byte(magic), sum[:], body); err != nil {
		c.fail(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size >= 0 {
		c.size += size
	}
	if c.size < 0 || c.size > c.Limit {
		c.trim()
	}
}

// write makes a file appear whole.
func (c *Cache) write(path string, parts ...[]byte) error {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(c.dir, "new-*")
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err = f.Write(p); err != nil {
			break
		}
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// trim removes the entries that were used longest ago, until a tenth of the room is
// free, and what processes that ended have left unfinished. Another process may do the
// same: what is gone already is fine.
func (c *Cache) trim() {
	type entry struct {
		path string
		used time.Time
		size int64
	}
	var entries []entry
	total := int64(0)
	list, _ := os.ReadDir(c.dir)
	for _, d := range list {
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		path := filepath.Join(c.dir, d.Name())
		switch {
		case strings.HasSuffix(d.Name(), suffix):
			entries = append(entries, entry{path, info.ModTime(), info.Size()})
			total += info.Size()
		case strings.HasPrefix(d.Name(), "new-") && time.Since(info.ModTime()) > time.Hour:
			os.Remove(path)
		}
	}
	if total > c.Limit {
		slices.SortFunc(entries, func(a, b entry) int { return a.used.Compare(b.used) })
		for _, e := range entries {
			if total <= c.Limit-c.Limit/10 {
				break
			}
			if err := os.Remove(e.path); err == nil || errors.Is(err, fs.ErrNotExist) {
				total -= e.size
			}
		}
	}
	c.size = total
}

// fail says, the first time, why nothing is kept.
func (c *Cache) fail(err error) {
	c.once.Do(func() {
		c.Warn(fmt.Sprintf("compiled kernels are not kept on disk, so every start compiles them again: %v (SINTER_KERNEL_CACHE names another folder, or is off)", err))
	})
}
