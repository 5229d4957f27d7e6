package safetensors

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"unicode/utf8"
)

// Write writes tensors and metadata (which may be nil) to path. The file is
// whole or absent: it is written under a temporary name in the same folder,
// forced to the disk and then renamed, so that a crash leaves what was there
// before. The same input gives the same bytes.
func Write(path string, tensors []Tensor, meta map[string]string) error {
	sorted, err := check(tensors, meta)
	if err != nil {
		return fmt.Errorf("safetensors: writing %s: %w", path, err)
	}
	tmp, err := createTemp(path)
	if err != nil {
		return fmt.Errorf("safetensors: writing %s: %w", path, err)
	}
	w := bufio.NewWriterSize(tmp, 1<<16)
	err = encode(w, sorted, meta)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("safetensors: writing %s: %w", path, err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("safetensors: writing %s: %w", path, err)
	}
	return nil
}

// Encode writes the bytes of the file that Write makes to w.
func Encode(w io.Writer, tensors []Tensor, meta map[string]string) error {
	sorted, err := check(tensors, meta)
	if err == nil {
		err = encode(w, sorted, meta)
	}
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	return nil
}

// createTemp makes a new file beside path. It differs from os.CreateTemp in the
// permissions, which are those of any other file that the user writes.
func createTemp(path string) (*os.File, error) {
	dir, base := filepath.Split(path)
	for i := 0; ; i++ {
		name := filepath.Join(dir, fmt.Sprintf(".%s.%d-%d.tmp", base, os.Getpid(), i))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) || i == 10_000 {
			return f, err
		}
	}
}

// syncDir makes a rename in dir survive a power cut. Windows does that by
// itself and has no call for it.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// check refuses what could not be read back and returns the tensors in the
// order in which they are written: elements of falling size, then by name.
func check(tensors []Tensor, meta map[string]string) ([]Tensor, error) {
	for k, v := range meta {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, fmt.Errorf("metadata %q: %q is not UTF-8", k, v)
		}
	}
	for _, t := range tensors {
		if names[t.DType] == "" {
			return nil, fmt.Errorf("tensor %q has the element type %v, which the format does not have", t.Name, t.DType)
		}
	}
	sorted := slices.Clone(tensors)
	slices.SortFunc(sorted, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(b.DType.Size(), a.DType.Size()), cmp.Compare(a.Name, b.Name))
	})
	seen := make(map[string]bool, len(sorted))
	for _, t := range sorted {
		switch n, ok := byteLen(t.DType, t.Shape); {
		case t.Name == metadataKey || !utf8.ValidString(t.Name):
			return nil, fmt.Errorf("a tensor cannot be called %q: the name is reserved or not UTF-8", t.Name)
		case seen[t.Name]:
			return nil, fmt.Errorf("two tensors are called %q", t.Name)
		case !ok || t.Load == nil && n != int64(len(t.Data)):
			return nil, fmt.Errorf("tensor %q is %v %v but has %d bytes of data", t.Name, t.DType, t.Shape, len(t.Data))
		}
		seen[t.Name] = true
	}
	return sorted, nil
}

// encode writes the file's bytes; the tensors have been checked and sorted.
func encode(w io.Writer, tensors []Tensor, meta map[string]string) error {
	type entry struct {
		DType   string   `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	var header bytes.Buffer
	sep := byte('{')
	// member appends "key":value. The order of the keys is the order of the data,
	// which a Go map would not keep.
	member := func(key string, value any) error {
		header.WriteByte(sep)
		sep = ','
		enc := json.NewEncoder(&header)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(key); err != nil {
			return err
		}
		header.Truncate(header.Len() - 1) // the encoder's newline
		header.WriteByte(':')
		err := enc.Encode(value)
		header.Truncate(header.Len() - 1)
		return err
	}
	if len(meta) > 0 {
		if err := member(metadataKey, meta); err != nil {
			return err
		}
	}
	var end int64
	for _, t := range tensors {
		begin := end
		size, _ := byteLen(t.DType, t.Shape)
		end += size
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		if err := member(t.Name, entry{names[t.DType], shape, [2]int64{begin, end}}); err != nil {
			return err
		}
	}
	if sep == '{' {
		header.WriteByte('{')
	}
	header.WriteByte('}')
	for (8+header.Len())%alignment != 0 {
		header.WriteByte(' ')
	}
	if header.Len() > maxHeader {
		return fmt.Errorf("the header would have %d bytes, the format allows %d", header.Len(), maxHeader)
	}
	var prefix [8]byte
	binary.LittleEndian.PutUint64(prefix[:], uint64(header.Len()))
	if _, err := w.Write(prefix[:]); err != nil {
		return err
	}
	if _, err := w.Write(header.Bytes()); err != nil {
		return err
	}
	for _, t := range tensors {
		content := t.Data
		if t.Load != nil {
			content = t.Load()
			if n, _ := byteLen(t.DType, t.Shape); n != int64(len(content)) {
				return fmt.Errorf("tensor %q is %v %v but has %d bytes of data", t.Name, t.DType, t.Shape, len(content))
			}
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	return nil
}
