package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kind is the form in which data lie in a file or folder.
type Kind string

const (
	KindIDX        Kind = "idx"        // see OpenIDX
	KindImages     Kind = "images"     // see OpenImages
	KindWebDataset Kind = "webdataset" // see OpenWebDataset
	KindArrays     Kind = "arrays"     // see OpenArrays
	KindTable      Kind = "table"      // see OpenTable: CSV, TSV and JSONL
	KindParquet    Kind = "parquet"    // see package data/parquet
	KindText       Kind = "text"       // see OpenText
)

// kinds are the kinds of files by their endings, behind which .gz may stand.
var kinds = map[string]Kind{
	".csv": KindTable, ".tsv": KindTable, ".tab": KindTable, ".jsonl": KindTable, ".ndjson": KindTable,
	".parquet": KindParquet, ".pq": KindParquet,
	".npz": KindArrays, ".npy": KindArrays,
	".tar": KindWebDataset, ".tgz": KindWebDataset,
	".txt": KindText, ".text": KindText, ".md": KindText,
}

// extension is the ending of a name in lower case, without one of gzip behind it.
func extension(path string) string {
	name := strings.ToLower(path)
	return filepath.Ext(strings.TrimSuffix(name, ".gz"))
}

// IsJSONL tells by its ending whether a file has a JSON object in each line.
func IsJSONL(path string) bool { return extension(path) == ".jsonl" || extension(path) == ".ndjson" }

// Detect tells which of the Open functions reads path: by what a folder holds, and of a
// file by its ending, or its first bytes where that says nothing. Names of archives may
// hold braces, see Shards.
func Detect(path string) (Kind, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(path, "{*") && kinds[extension(path)] == KindWebDataset {
		_, err := Shards(path)
		return KindWebDataset, err
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("data: there is no file or folder %s", path)
		}
		return "", fmt.Errorf("data: %w", err)
	}
	if !st.IsDir() {
		if k := kinds[extension(path)]; k != "" {
			return k, nil
		}
		head, err := firstBytes(path, 512)
		if err != nil {
			return "", err
		}
		switch {
		case bytes.HasPrefix(head, []byte("PAR1")):
			return KindParquet, nil
		case bytes.HasPrefix(head, []byte("\x93NUMPY")):
			return KindArrays, nil
		case len(head) > 262 && string(head[257:262]) == "ustar":
			return KindWebDataset, nil
		}
		return "", fmt.Errorf("data: %s: unknown kind of file; expected a table (.csv, .tsv, .jsonl, .parquet), arrays (.npz, .npy), archives of examples (.tar), a text (.txt), or a folder of IDX files, of class folders with images, of archives, or of texts", path)
	}
	for _, part := range idxParts {
		for _, name := range []string{part.images, part.labels} {
			if found, err := findIDX(path, name); err != nil || found != "" {
				return KindIDX, err
			}
		}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", fmt.Errorf("data: %w", err)
	}
	for _, e := range entries {
		switch name := strings.ToLower(e.Name()); {
		case e.IsDir():
		case isTarName(name):
			return KindWebDataset, nil
		case name == "x.npy" || name == "x_train.npy":
			return KindArrays, nil
		}
	}
	// Images before texts, since a README.txt often lies beside the class folders.
	for _, pattern := range []string{"*/*", "train/*/*"} {
		// The only error is that of a pattern, which these do not have; what
		// cannot be listed is reported by the function that reads the folder.
		found, _ := fs.Glob(os.DirFS(path), pattern)
		if slices.ContainsFunc(found, func(p string) bool { return isImageName(filepath.Base(p)) }) {
			return KindImages, nil
		}
	}
	if texts, err := listTexts(path); err != nil || len(texts) > 0 {
		return KindText, err
	}
	return "", fmt.Errorf("data: %s holds no data that is known here; expected IDX files (%s …), class folders with images, .tar archives, x.npy and y.npy, or .txt files", path, idxParts[0].images)
}

func firstBytes(path string, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	b := make([]byte, n)
	n, err = io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("data: %s: %w", path, err)
	}
	return b[:n], nil
}
