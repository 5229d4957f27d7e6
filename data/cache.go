package data

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// ErrNoCache is what CacheMemory and CacheDisk return, wrapped with the reason, for
// examples that are better read as they are.
var ErrNoCache = errors.New("data: not cached")

// cacheable checks that keeping ds's examples makes sense, and gives the bytes of an
// example at its longest.
func cacheable(ds Dataset, limit int64) (size int64, err error) {
	if _, ok := ds.(EpochDataset); ok && !steady(ds) {
		return 0, fmt.Errorf("%w: the examples are drawn anew for every epoch; cache what lies below their augmentation", ErrNoCache)
	}
	if resident(ds) {
		return 0, fmt.Errorf("%w: the examples are in memory already", ErrNoCache)
	}
	for _, f := range ds.Fields() {
		size += int64(f.Bytes())
	}
	if n := int64(ds.Len()); limit > 0 && size > 0 && n > limit/size {
		return 0, fmt.Errorf("%w: %d examples of %d bytes take %d MiB, and the limit is %d MiB", ErrNoCache, n, size, n*size>>20, limit>>20)
	}
	return size, nil
}

// steady tells of a Subset or Concat, which are EpochDatasets for the sake of what they
// are made of, that this is not one.
func steady(ds Dataset) bool {
	switch ds := ds.(type) {
	case subset:
		return steady(ds.of)
	case concat:
		return !slices.ContainsFunc(ds.parts, func(p Dataset) bool { return !steady(p) })
	case EpochDataset:
		return false
	}
	return true
}

// resident tells whether a dataset's examples are in memory as they are handed out, or
// nearly so.
func resident(ds Dataset) bool {
	switch ds := ds.(type) {
	case arrays, byteImages, textBlocks, *encoded, *memoryCache:
		return true
	case subset:
		return resident(ds.of)
	case concat:
		return !slices.ContainsFunc(ds.parts, func(p Dataset) bool { return !resident(p) })
	}
	return false
}

// CacheMemory keeps every example of ds in memory once it was read, so that files are
// decoded in the first epoch only. It takes the bytes of all examples at their longest,
// which must not be more than limit; 0 is no limit. The error is ErrNoCache if they are,
// or if ds is nothing to be cached.
func CacheMemory(ds Dataset, limit int64) (Dataset, error) {
	size, err := cacheable(ds, limit)
	if err != nil {
		return nil, err
	}
	n := ds.Len()
	c := &memoryCache{Dataset: ds, size: int(size), bytes: make([]byte, int64(n)*size), state: make([]atomic.Uint32, n)}
	for i, f := range ds.Fields() {
		if f.Ragged {
			c.ragged = append(c.ragged, i)
		}
	}
	c.lengths = make([]int, n*len(c.ragged))
	return c, nil
}

type memoryCache struct {
	Dataset
	size    int
	bytes   []byte
	state   []atomic.Uint32 // of each example: one of those below
	ragged  []int           // the fields that are
	lengths []int           // bytes of each ragged field of each example
}

const (
	absent  = iota
	writing // by one of several that have read it
	present
)

func (c *memoryCache) Read(i int, dst [][]byte) error {
	if c.state[i].Load() == present {
		at := i * c.size
		for f := range dst {
			at += copy(dst[f], c.bytes[at:at+len(dst[f])])
		}
		for k, f := range c.ragged {
			dst[f] = dst[f][:c.lengths[i*len(c.ragged)+k]]
		}
		return nil
	}
	full := make([]int, 0, 8) // rooms before Read shortens them
	for _, d := range dst {
		full = append(full, len(d))
	}
	if err := c.Dataset.Read(i, dst); err != nil {
		return err
	}
	if !c.state[i].CompareAndSwap(absent, writing) {
		return nil
	}
	at := i * c.size
	for f, d := range dst {
		copy(c.bytes[at:at+full[f]], d)
		at += full[f]
	}
	for k, f := range c.ragged {
		c.lengths[i*len(c.ragged)+k] = len(dst[f])
	}
	c.state[i].Store(present)
	return nil
}

// DiskCache says where CacheDisk puts its file.
type DiskCache struct {
	Dir     string // made if it is not there
	Key     string // tells these examples from all others: a digest of the files and of what is made of them
	Limit   int64  // bytes that it may take, 0: any number
	Workers int    // examples read at the same time while it is made; 0 as in a Loader

	// Warn is told that the file was damaged, in which case the examples are read as if
	// there were none, and the next CacheDisk makes a new one.
	Warn func(message string)
}

// CacheDisk keeps the examples of ds in one file, as they are handed out, so that later
// epochs and later runs read them from there instead of decoding them again. The file is
// found again by the key and by the fields; if there is none, or a damaged one, it is made
// now, which reads every example once, and is there under its name when it is whole. A
// checksum guards every example. Examples that cannot be read are left out of the file:
// they give their errors as before. See CacheMemory for ErrNoCache.
func CacheDisk(ctx context.Context, ds Dataset, o DiskCache) (Dataset, error) {
	if _, err := cacheable(ds, o.Limit); err != nil {
		return nil, err
	}
	if o.Key == "" {
		return nil, fmt.Errorf("%w: nothing is known that tells these examples from others", ErrNoCache)
	}
	description, err := json.Marshal(cacheHeader{cacheMagic, o.Key, ds.Fields(), ds.Len()})
	if err != nil {
		return nil, fmt.Errorf("data: describing the cache: %w", err)
	}
	sum := sha256.Sum256(description)
	c := &diskCache{Dataset: ds, path: filepath.Join(o.Dir, hex.EncodeToString(sum[:16])+".cache"), warn: o.Warn}
	for i, f := range ds.Fields() {
		if f.Ragged {
			c.ragged = append(c.ragged, i)
		}
	}
	err = c.open(sum)
	if err == nil {
		return c, nil
	}
	if !errors.Is(err, os.ErrNotExist) && c.warn != nil {
		c.warn(fmt.Sprintf("the cache %s cannot be used and is made anew: %v", c.path, err))
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("data: making the cache: %w", err)
	}
	if err := c.make(ctx, sum, o.Workers); err != nil {
		return nil, fmt.Errorf("data: making the cache %s: %w", c.path, err)
	}
	if err := c.open(sum); err != nil {
		return nil, fmt.Errorf("data: the cache %s, just made: %w", c.path, err)
	}
	return c, nil
}

// cacheHeader is what the name of a cache's file is the digest of.
type cacheHeader struct {
	Format string
	Key    string
	Fields []Field
	Len    int
}

// The file is: the digest of the header; the examples' bytes, field after field; for each
// example an entry; the checksum of the digest and the entries; the magic. All numbers are
// little-endian.
type diskCache struct {
	Dataset
	path    string
	warn    func(string)
	ragged  []int
	file    *os.File
	offsets []int64 // of every example, and the end; one that could not be read has no bytes
	sums    []uint32
	lengths []uint32 // bytes of each ragged field of each example
	buffers sync.Pool
	damaged atomic.Bool
}

const cacheMagic = "sinter cache 1\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// entry is the bytes of an example's entry: offset behind it, checksum, lengths.
func (c *diskCache) entry() int { return 12 + 4*len(c.ragged) }

func (c *diskCache) open(sum [32]byte) (err error) {
	f, err := os.Open(c.path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	n := c.Len()
	tail := make([]byte, n*c.entry()+4+len(cacheMagic))
	at := st.Size() - int64(len(tail))
	if at < int64(len(sum)) {
		return fmt.Errorf("%d bytes are too few", st.Size())
	}
	if _, err := f.ReadAt(tail, at); err != nil {
		return err
	}
	var head [32]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return err
	}
	entries := tail[:n*c.entry()]
	check := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, entries)
	if string(tail[len(entries)+4:]) != cacheMagic || head != sum || binary.LittleEndian.Uint32(tail[len(entries):]) != check {
		return errors.New("its beginning and its end do not belong together; it was cut or altered")
	}
	c.offsets, c.sums, c.lengths = make([]int64, n+1), make([]uint32, n), make([]uint32, n*len(c.ragged))
	c.offsets[0] = int64(len(sum))
	for i := range n {
		e := entries[i*c.entry():]
		c.offsets[i+1] = int64(binary.LittleEndian.Uint64(e))
		c.sums[i] = binary.LittleEndian.Uint32(e[8:])
		for k := range c.ragged {
			c.lengths[i*len(c.ragged)+k] = binary.LittleEndian.Uint32(e[12+4*k:])
		}
		if c.offsets[i+1] < c.offsets[i] || c.offsets[i+1] > at {
			return fmt.Errorf("example %d lies outside of it", i)
		}
	}
	c.file = f
	return nil
}

// make writes the file under another name, and gives it its own when it is whole.
func (c *diskCache) make(ctx context.Context, sum [32]byte, workers int) (err error) {
	f, err := os.CreateTemp(filepath.Dir(c.path), ".making-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	out := bufio.NewWriterSize(f, 1<<20)
	out.Write(sum[:]) // an error comes again with Flush
	var size int
	for _, field := range c.Fields() {
		size += field.Bytes()
	}
	// As many at a time as a few workers need to be busy, in bounded memory.
	block := min(c.Len(), max(1, min(1024, (64<<20)/max(1, size))))
	examples := make([]cached, block)
	for i := range examples {
		examples[i].bytes = make([]byte, size)
		examples[i].dst = make([][]byte, len(c.Fields()))
	}
	if workers == 0 {
		workers = max(1, runtime.GOMAXPROCS(0)-1)
	}
	var entries []byte
	offset := int64(len(sum))
	for from := 0; from < c.Len(); from += block {
		part := examples[:min(block, c.Len()-from)]
		var next atomic.Int64
		var wg sync.WaitGroup
		for range min(workers, len(part)) {
			wg.Go(func() {
				for k := int(next.Add(1)) - 1; k < len(part) && ctx.Err() == nil; k = int(next.Add(1)) - 1 {
					part[k].read(c.Dataset, from+k)
				}
			})
		}
		wg.Wait()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, e := range part {
			crc := uint32(0)
			for _, d := range e.dst {
				if e.err == nil {
					out.Write(d)
					crc = crc32.Update(crc, castagnoli, d)
					offset += int64(len(d))
				}
			}
			entries = binary.LittleEndian.AppendUint64(entries, uint64(offset))
			entries = binary.LittleEndian.AppendUint32(entries, crc)
			for _, k := range c.ragged {
				entries = binary.LittleEndian.AppendUint32(entries, uint32(len(e.dst[k])))
			}
		}
	}
	out.Write(entries)
	check := crc32.Update(crc32.Checksum(sum[:], castagnoli), castagnoli, entries)
	out.Write(binary.LittleEndian.AppendUint32(nil, check))
	out.WriteString(cacheMagic)
	if err := errors.Join(out.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), c.path)
}

// cached is an example on its way into a cache.
type cached struct {
	bytes []byte
	dst   [][]byte
	err   error
}

func (e *cached) read(ds Dataset, i int) {
	defer func() {
		if v := recover(); v != nil {
			e.err = fmt.Errorf("panic: %v", v)
		}
	}()
	at := 0
	for f, field := range ds.Fields() {
		n := field.Bytes()
		e.dst[f] = e.bytes[at : at+n : at+n]
		at += n
	}
	e.err = ds.Read(i, e.dst)
}

func (c *diskCache) Read(i int, dst [][]byte) error {
	n := int(c.offsets[i+1] - c.offsets[i])
	if n == 0 || c.damaged.Load() {
		return c.Dataset.Read(i, dst)
	}
	b, _ := c.buffers.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
	}
	defer c.buffers.Put(b)
	*b = slices.Grow((*b)[:0], n)[:n]
	if _, err := io.ReadFull(io.NewSectionReader(c.file, c.offsets[i], int64(n)), *b); err != nil {
		return c.spoilt(i, dst, err)
	}
	if crc32.Checksum(*b, castagnoli) != c.sums[i] {
		return c.spoilt(i, dst, errors.New("its checksum is wrong"))
	}
	for k, f := range c.ragged {
		dst[f] = dst[f][:c.lengths[i*len(c.ragged)+k]]
	}
	at := 0
	for _, d := range dst {
		at += copy(d, (*b)[at:])
	}
	return nil
}

// spoilt reads an example past a cache that is damaged, and removes that.
func (c *diskCache) spoilt(i int, dst [][]byte, err error) error {
	if !c.damaged.Swap(true) {
		os.Remove(c.path)
		if c.warn != nil {
			c.warn(fmt.Sprintf("the cache %s is damaged at example %d (%v): it is removed, and examples are read without it", c.path, i, err))
		}
	}
	return c.Dataset.Read(i, dst)
}
