package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// idxParts are the file names of MNIST and of the datasets that took its form.
// Some copies write a dot for the second dash, and any may end in .gz.
var idxParts = [2]struct{ images, labels string }{
	{"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
	{"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"},
}

// maxIDX bounds the values of one file, and keeps every length within an int.
const maxIDX = 1 << 31

// OpenIDX reads a folder of IDX files named as MNIST's are: images of bytes with
// their labels for training and, where they are there, for testing (t10k-…).
// Files may be compressed by gzip. X is float32 [1, height, width] from 0 to 1.
func OpenIDX(dir string) (*Source, error) {
	src := &Source{Task: Classification}
	digest := sha256.New()
	classes := 0
	for i, part := range idxParts {
		images, err := findIDX(dir, part.images)
		if err != nil {
			return nil, err
		}
		labels, err := findIDX(dir, part.labels)
		if err != nil {
			return nil, err
		}
		switch {
		case images == "" && labels == "" && i == 1:
			continue
		case images == "":
			return nil, fmt.Errorf("data: %s has no file %s or %[2]s.gz; put the four files of the dataset into the folder, under their own names", dir, part.images)
		case labels == "":
			return nil, fmt.Errorf("data: %s has no file %s or %[2]s.gz, which belongs to %s", dir, part.labels, filepath.Base(images))
		}
		ds, most, err := openIDXPair(images, labels, digest)
		if err != nil {
			return nil, err
		}
		classes = max(classes, most+1)
		if i == 0 {
			src.Train = ds
			continue
		}
		if a, b := src.Train.Fields()[0].Shape, ds.Fields()[0].Shape; !slices.Equal(a, b) {
			return nil, fmt.Errorf("data: %s: the images are %d×%d, but those for training %d×%d; the files are from different datasets", images, b[1], b[2], a[1], a[2])
		}
		src.Test = ds
	}
	for c := range classes {
		src.Classes = append(src.Classes, strconv.Itoa(c))
	}
	src.Digest = hex.EncodeToString(digest.Sum(nil))
	return src, nil
}

// findIDX is the path under which a file of the given name is there, or "".
func findIDX(dir, name string) (string, error) {
	dotted := strings.Replace(name, "-idx", ".idx", 1)
	for _, n := range []string{name, name + ".gz", dotted, dotted + ".gz"} {
		path := filepath.Join(dir, n)
		switch _, err := os.Stat(path); {
		case err == nil:
			return path, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("data: %w", err)
		}
	}
	return "", nil
}

// openIDXPair reads images and their labels; most is the largest label.
func openIDXPair(images, labels string, digest hash.Hash) (ds Dataset, most int, err error) {
	dims, pixels, err := openIDX(images, 3)
	if err != nil {
		return nil, 0, err
	}
	count, values, err := openIDX(labels, 1)
	if err != nil {
		return nil, 0, err
	}
	if count[0] != dims[0] {
		return nil, 0, fmt.Errorf("data: %s, byte 4: %d labels, expected %d, one for each image of %s; the files are from different datasets", labels, count[0], dims[0], images)
	}
	digest.Write(pixels)
	digest.Write(values)
	y := make([]int64, len(values))
	for i, v := range values {
		y[i] = int64(v)
		most = max(most, int(v))
	}
	ds, err = ByteImages(pixels, []int{1, dims[1], dims[2]}, y)
	return ds, most, err
}

func openIDX(path string, rank int) (dims []int, values []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("data: %w", err)
	}
	return readIDX(f, st.Size(), path, rank)
}

// readIDX reads an IDX file of bytes, compressed or not as its first bytes tell,
// of the given number of axes: a big-endian magic number 0x08 << 8 | rank, the
// length of every axis, the values. size is that of the file; memory is taken
// only for what a file of that size can hold.
func readIDX(r io.Reader, size int64, name string, rank int) (dims []int, values []byte, err error) {
	br := bufio.NewReader(r)
	where, limit := "", size
	if head, _ := br.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		zr, err := gzip.NewReader(br)
		if err != nil {
			return nil, nil, fmt.Errorf("data: %s, byte 0: not a whole gzip header: %v; copy or download the file again", name, err)
		}
		br, where, limit = bufio.NewReader(zr), " of the unpacked content", max(freeUnpacked, maxRatio*size)
	}
	header := make([]byte, 4+4*rank)
	if n, err := io.ReadFull(br, header); err != nil {
		return nil, nil, idxCut(name, where, int64(n), int64(len(header)), "in the header", err)
	}
	magic := uint32(0x08<<8 | rank)
	if got := binary.BigEndian.Uint32(header); got != magic {
		return nil, nil, fmt.Errorf("data: %s, byte 0%s: magic number %#08x, expected %#08x (bytes with %d axes); it is not the IDX file that its name says", name, where, got, magic, rank)
	}
	product := uint64(1)
	for a := range rank {
		d := binary.BigEndian.Uint32(header[4+4*a:])
		// Both factors are below 2^32, so that the product cannot wrap.
		if product *= uint64(d); product == 0 || product >= maxIDX {
			return nil, nil, fmt.Errorf("data: %s, byte %d%s: axis %d has length %d, expected at least 1 and less than 2 GiB in all; the file is damaged: copy or download it again", name, 4+4*a, where, a, d)
		}
		dims = append(dims, int(d))
	}
	want := int64(product)
	if where != "" && want > limit {
		return nil, nil, fmt.Errorf("data: %s, byte 4%s: %v values are more than %d times the %d bytes of the file; if that is no mistake, unpack it beforehand", name, where, dims, maxRatio, size)
	}
	var buf bytes.Buffer
	buf.Grow(int(min(want, limit)))
	n, err := io.CopyN(&buf, br, want)
	if err != nil {
		return nil, nil, idxCut(name, where, int64(len(header))+n, int64(len(header))+want, fmt.Sprintf("for %v", dims), err)
	}
	// Also makes gzip check its sum, which comes last.
	if _, err := br.ReadByte(); err == nil {
		return nil, nil, fmt.Errorf("data: %s, byte %d%s: the file goes on after the %d bytes that its header %v asks for; it is damaged: copy or download it again", name, int64(len(header))+want, where, want, dims)
	} else if !errors.Is(err, io.EOF) {
		return nil, nil, idxCut(name, where, int64(len(header))+want, int64(len(header))+want, "and a good check sum", err)
	}
	return dims, buf.Bytes(), nil
}

func idxCut(name, where string, got, want int64, what string, err error) error {
	reason := "the file ends here"
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		reason = err.Error()
	} else if where != "" {
		reason = "the gzip file is cut off here"
	}
	return fmt.Errorf("data: %s, byte %d%s: %s, expected %d bytes %s; copy or download the file again", name, got, where, reason, want, what)
}
