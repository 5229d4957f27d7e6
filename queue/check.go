package queue

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
)

// The pages of a bbolt file, version 2: a header each of its number (8 bytes), kind (2),
// count of elements (2) and further pages that belong to it (4), in the byte order of the
// machine. Two pages of meta data say where the root is and how long the file is.
const (
	pageHeader  = 16
	leafElement = 16 // flags, position, length of the key, length of the value: 4 bytes each
	branchChild = 16 // position, length of the key: 4 bytes each; page: 8
	kindBranch  = 0x01
	kindLeaf    = 0x02
	kindMeta    = 0x04
	kindFree    = 0x10
	bucketFlag  = 0x01
	metaMagic   = 0xED0CDAED
	metaLength  = 64
	noFreelist  = ^uint64(0)
)

// checkFile tells whether the content of a database is sound: every page that its trees
// lead to is there, of the right kind, and used once, and none of them is listed as free.
// It looks at bytes only, so that nothing that they say can do harm.
func checkFile(text []byte) (err error) {
	defer func() {
		if broken := recover(); broken != nil { // an index out of range
			err = fmt.Errorf("%w: %v", errDamaged, broken)
		}
	}()
	c := checker{text: text, used: map[uint64]bool{}}
	if err := c.meta(); err != nil {
		return fmt.Errorf("%w: %v", errDamaged, err)
	}
	if err := c.all(); err != nil {
		return fmt.Errorf("%w: %v", errDamaged, err)
	}
	return nil
}

type checker struct {
	text       []byte
	size       uint64 // of a page
	root, free uint64
	pages      uint64
	used       map[uint64]bool
}

func (c *checker) u16(at uint64) uint16 { return binary.NativeEndian.Uint16(c.text[at:]) }
func (c *checker) u32(at uint64) uint32 { return binary.NativeEndian.Uint32(c.text[at:]) }
func (c *checker) u64(at uint64) uint64 { return binary.NativeEndian.Uint64(c.text[at:]) }

// meta finds the page of meta data that holds: the newer of those that are whole.
func (c *checker) meta() error {
	var newest uint64
	for _, size := range []uint64{4096, 8192, 16384, 32768, 65536, 1024, 2048} {
		for page := range uint64(2) {
			at := page*size + pageHeader
			if at+metaLength > uint64(len(c.text)) || c.u32(at) != metaMagic || uint64(c.u32(at+8)) != size {
				continue
			}
			sum := fnv.New64a()
			sum.Write(c.text[at : at+56])
			if sum.Sum64() != c.u64(at+56) {
				continue
			}
			if tx := c.u64(at + 48); c.size == 0 || tx > newest {
				newest, c.size = tx, size
				c.root, c.free, c.pages = c.u64(at+16), c.u64(at+32), c.u64(at+40)
			}
		}
	}
	if c.size == 0 {
		return fmt.Errorf("it is no database, or has lost its beginning")
	}
	if c.pages > uint64(len(c.text))/c.size {
		return fmt.Errorf("it is cut off: it has %d bytes of %d pages of %d", len(c.text), c.pages, c.size)
	}
	return nil
}

func (c *checker) all() error {
	c.used[0], c.used[1] = true, true
	if err := c.tree(c.root, 0); err != nil {
		return err
	}
	if c.free == noFreelist {
		return nil
	}
	at, err := c.page(c.free, kindFree)
	if err != nil {
		return err
	}
	first, n := at+pageHeader, uint64(c.u16(at+10))
	if n == 0xFFFF { // the number stands in the first place
		n, first = c.u64(first), first+8
	}
	if n > c.pages || first+8*n > at+c.size*(1+uint64(c.u32(at+12))) {
		return fmt.Errorf("its list of free pages is wrong")
	}
	for i := range n {
		id := c.u64(first + 8*i)
		if id >= c.pages || c.used[id] {
			return fmt.Errorf("its list of free pages names page %d, which is in use", id)
		}
		c.used[id] = true
	}
	return nil
}

// page finds a page and counts it as used, with those that belong to it.
func (c *checker) page(id uint64, kinds uint16) (at uint64, err error) {
	if id < 2 || id >= c.pages {
		return 0, fmt.Errorf("it leads to page %d of %d", id, c.pages)
	}
	at = id * c.size
	more := uint64(c.u32(at + 12))
	if c.u64(at) != id || c.u16(at+8)&kinds == 0 || c.u16(at+8)&^kinds != 0 || more >= c.pages-id {
		return 0, fmt.Errorf("page %d is not what it should be", id)
	}
	for i := range more + 1 {
		if c.used[id+i] {
			return 0, fmt.Errorf("page %d is used twice", id+i)
		}
		c.used[id+i] = true
	}
	return at, nil
}

func (c *checker) tree(id uint64, depth int) error {
	if depth > 64 {
		return fmt.Errorf("its tree is too deep")
	}
	at, err := c.page(id, kindBranch|kindLeaf)
	if err != nil {
		return err
	}
	return c.elements(c.text[at:at+c.size*(1+uint64(c.u32(at+12)))], at, depth)
}

// elements checks what a page holds, or a bucket that is small enough to stand in the
// value of an element.
func (c *checker) elements(page []byte, at uint64, depth int) error {
	n := uint64(c.u16(at + 10))
	end := uint64(len(page))
	for i := range n {
		e := at + pageHeader + i*branchChild
		if c.u16(at+8)&kindBranch != 0 {
			if e-at+uint64(c.u32(e))+uint64(c.u32(e+4)) > end {
				return fmt.Errorf("a key lies outside of its page")
			}
			if err := c.tree(c.u64(e+8), depth+1); err != nil {
				return err
			}
			continue
		}
		key := e + uint64(c.u32(e+4))
		value := key + uint64(c.u32(e+8))
		length := uint64(c.u32(e + 12))
		if e-at+leafElement > end || value+length-at > end {
			return fmt.Errorf("a value lies outside of its page")
		}
		if c.u32(e)&bucketFlag == 0 {
			continue
		}
		if length < 16 { // root and sequence
			return fmt.Errorf("a bucket is cut off")
		}
		if root := c.u64(value); root != 0 {
			if err := c.tree(root, depth+1); err != nil {
				return err
			}
			continue
		}
		if length < 16+pageHeader || c.u16(value+16+8) != kindLeaf {
			return fmt.Errorf("a bucket is not what it should be")
		}
		if err := c.elements(c.text[value+16:value+length], value+16, depth+1); err != nil {
			return err
		}
	}
	return nil
}
