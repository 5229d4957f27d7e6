package npy

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter/internal/dtype"
)

var descrs = map[dtype.DType]string{
	dtype.Bool: "|b1", dtype.Uint8: "|u1", dtype.Int8: "|i1", dtype.Int32: "<i4", dtype.Int64: "<i8",
	dtype.Float16: "<f2", dtype.BFloat16: "<V2", dtype.Float32: "<f4", dtype.Float64: "<f8",
}

// Encode writes an array as NPY.
func (a *Array) Encode(w io.Writer) error {
	n, ok := product(a.Shape, max(1, a.DType.Size()))
	if descrs[a.DType] == "" || !ok || len(a.Shape) > maxRank || int64(len(a.Data)) != n {
		return fmt.Errorf("npy: an array of %s %v with %d bytes, expected %d", a.DType, a.Shape, len(a.Data), n)
	}
	axes := strings.Join(strings.Fields(strings.Trim(fmt.Sprint(a.Shape), "[]")), ", ")
	if len(a.Shape) == 1 {
		axes += ","
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descrs[a.DType], axes)
	// NumPy leaves room for the first axis to grow to 21 digits, and so are the bytes the
	// same here. The elements begin at a multiple of 64 bytes.
	if len(a.Shape) > 0 {
		text += strings.Repeat(" ", 21-len(strconv.Itoa(a.Shape[0])))
	}
	text += strings.Repeat(" ", 63-(len(magic)+4+len(text))%64) + "\n"
	start := append([]byte(magic), 1, 0)
	start = binary.LittleEndian.AppendUint16(start, uint16(len(text)))
	for _, part := range [][]byte{start, []byte(text), a.Data} {
		if _, err := w.Write(part); err != nil {
			return fmt.Errorf("npy: %w", err)
		}
	}
	return nil
}

// Write writes an NPY file.
func Write(path string, a *Array) error {
	return create(path, a.Encode)
}

// Named is an array of an archive.
type Named struct {
	Name string
	*Array
}

// WriteArchive writes an NPZ file, compressed or not.
func WriteArchive(path string, arrays []Named, compress bool) error {
	return create(path, func(w io.Writer) error {
		z := zip.NewWriter(w)
		method := zip.Store
		if compress {
			method = zip.Deflate
		}
		for _, a := range arrays {
			m, err := z.CreateHeader(&zip.FileHeader{Name: a.Name + ".npy", Method: method})
			if err != nil {
				return fmt.Errorf("npy: %w", err)
			}
			if err := a.Encode(m); err != nil {
				return err
			}
		}
		return z.Close()
	})
}

// create writes a file under another name and renames it when it is whole.
func create(path string, write func(io.Writer) error) (err error) {
	part := path + ".part"
	f, err := os.Create(part)
	if err != nil {
		return fmt.Errorf("npy: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(part)
		}
	}()
	w := bufio.NewWriter(f)
	if err = write(w); err != nil {
		return err
	}
	if err = w.Flush(); err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return fmt.Errorf("npy: %w", err)
	}
	return nil
}
