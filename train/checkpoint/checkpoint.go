// Package checkpoint keeps what a training run needs to go on after it was stopped,
// in folders that are whole or absent:
//
//	checkpoints/
//	  step-00001200/
//	    checkpoint.json      the list of the files with their checksums, and its own
//	    state.json           what package train has to know besides tensors
//	    model.safetensors    weights
//	    optimizer.safetensors, callbacks.safetensors
//	  step-00001300/
//
// A checkpoint is written into a folder of another name, every file and the folder are
// forced to the disk, and then it is renamed. What is in a checkpoint and when one is
// made is package train's business; this one writes (Write), lists and reads
// them (List, Read) and removes those that are not to be kept (Prune).
//
// Read believes nothing: each file has to have the length and the SHA-256 that
// checkpoint.json says, and checkpoint.json has to be, byte for byte, what Write made
// of its content. A cut, altered or missing file is a *DamagedError that names it.
package checkpoint

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/format/safetensors"
	"github.com/sinter-dl/sinter/train/rundir"
)

// Names of files in a checkpoint.
const (
	manifestFile = "checkpoint.json"
	stateFile    = "state.json"
	suffix       = ".safetensors" // of a file of tensors
)

// format is the version of the layout.
const format = 1

// Content is a checkpoint in memory.
type Content struct {
	Step  int
	Score *Score          // what the weights were found to be worth, if they were just evaluated
	State json.RawMessage // compact JSON
	// Tensors by the names of the files they are in, without suffix: "model". Files
	// without tensors are not written.
	Tensors map[string][]safetensors.Tensor
}

// Score is a quantity that was measured on the weights of a checkpoint.
type Score struct {
	Name  string  `json:"name"` // "test_loss"
	Value float64 `json:"value"`
}

// Info is a checkpoint as it is listed.
type Info struct {
	Name  string // of its folder: "step-00001200"
	Path  string
	Step  int
	Score *Score
	Time  time.Time
	Bytes int64 // of all its files
	Err   error // a *DamagedError if its list of files is not as it was written
}

// DamagedError is a checkpoint that is not as it was written.
type DamagedError struct {
	Path   string // of the checkpoint
	File   string // in it
	Reason string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the checkpoint %s is damaged: %s %s", e.Path, e.File, e.Reason)
}

// manifest is the content of checkpoint.json.
type manifest struct {
	Format int             `json:"format"`
	Step   int             `json:"step"`
	Score  *Score          `json:"score,omitempty"`
	Time   time.Time       `json:"time"`
	Files  map[string]file `json:"files"`
	SHA256 string          `json:"sha256"` // of this object's text with an empty string here
}

type file struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// text is the content of checkpoint.json, and the only one: keys are in order, and
// every value has one way to be written.
func (m manifest) text() ([]byte, error) {
	m.SHA256 = ""
	blank, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(blank)
	m.SHA256 = hex.EncodeToString(sum[:])
	text, err := json.MarshalIndent(m, "", "  ")
	return append(text, '\n'), err
}

// createFile makes a file of a checkpoint; tests put one in its place whose disk is
// full.
var createFile = func(name string) (io.WriteCloser, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}

// Write writes a checkpoint into the folder dir, which is made if it is not there. The
// checkpoint is called after its step; where there is one of that step already, the
// name gets a number. After an error nothing of it is left.
func Write(dir string, c *Content) (info Info, err error) {
	var name string
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing the checkpoint of step %d to %s: %w", c.Step, dir, err)
		}
	}()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return Info{}, err
	}
	if name, err = freeName(dir, c.Step); err != nil {
		return Info{}, err
	}
	temp := filepath.Join(dir, "."+name+partial)
	if err := os.RemoveAll(temp); err != nil {
		return Info{}, err
	}
	if err := os.Mkdir(temp, 0o777); err != nil {
		return Info{}, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(temp)
		}
	}()
	m := manifest{Format: format, Step: c.Step, Score: c.Score, Time: time.Now().UTC().Round(0), Files: map[string]file{}}
	var total int64
	add := func(name string, encode func(w io.Writer) error) error {
		f, err := writeFile(filepath.Join(temp, name), encode)
		m.Files[name] = f
		total += f.Bytes
		return err
	}
	for _, part := range slices.Sorted(maps.Keys(c.Tensors)) {
		if len(c.Tensors[part]) == 0 {
			continue
		}
		if err := add(part+suffix, func(w io.Writer) error { return safetensors.Encode(w, c.Tensors[part], nil) }); err != nil {
			return Info{}, err
		}
	}
	if err := add(stateFile, func(w io.Writer) error { _, err := w.Write(c.State); return err }); err != nil {
		return Info{}, err
	}
	text, err := m.text()
	if err != nil {
		return Info{}, err
	}
	if _, err := writeFile(filepath.Join(temp, manifestFile), func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return Info{}, err
	}
	if err := rundir.SyncDir(temp); err != nil {
		return Info{}, err
	}
	path := filepath.Join(dir, name)
	if err := os.Rename(temp, path); err != nil {
		return Info{}, err
	}
	if err := rundir.SyncDir(dir); err != nil {
		os.RemoveAll(path)
		return Info{}, err
	}
	return Info{Name: name, Path: path, Step: c.Step, Score: c.Score, Time: m.Time, Bytes: total + int64(len(text))}, nil
}

// partial ends the names of checkpoints that are being written, removed those of
// checkpoints that are being removed. Both begin with a dot, and List does not see them.
const (
	partial = ".partial"
	removed = ".removed"
)

// freeName is a name for a checkpoint of the step.
func freeName(dir string, step int) (string, error) {
	for n := 1; ; n++ {
		name := folderName(step, n)
		if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
}

func folderName(step, n int) string {
	name := fmt.Sprintf("step-%08d", step)
	if n > 1 {
		name = fmt.Sprintf("%s-%d", name, n)
	}
	return name
}

// parseName is the opposite of folderName. Zeros may be left out.
func parseName(name string) (step, n int, ok bool) {
	rest, ok := strings.CutPrefix(name, "step-")
	if !ok {
		return 0, 0, false
	}
	number, again, twice := strings.Cut(rest, "-")
	step, err := strconv.Atoi(number)
	n = 1
	if err == nil && twice {
		n, err = strconv.Atoi(again)
	}
	return step, n, err == nil && step >= 0 && n >= 1
}

// writeFile writes a file and forces it to the disk.
func writeFile(name string, encode func(w io.Writer) error) (file, error) {
	f, err := createFile(name)
	if err != nil {
		return file{}, err
	}
	w := &counter{sum: sha256.New()}
	buffered := bufio.NewWriterSize(io.MultiWriter(f, w), 1<<16)
	err = encode(buffered)
	if err == nil {
		err = buffered.Flush()
	}
	if s, ok := f.(interface{ Sync() error }); ok && err == nil {
		err = s.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return file{}, err
	}
	return file{w.n, hex.EncodeToString(w.sum.Sum(nil))}, nil
}

// counter counts and sums what is written.
type counter struct {
	n   int64
	sum hash.Hash
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.sum.Write(p)
}

// List lists the checkpoints in a folder, in the order of their steps; of those of one
// step, in the order in which they were written. Of each only the list of its files is
// read. A folder that is not there has none.
func List(dir string) ([]Info, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing checkpoints: %w", err)
	}
	var all []Info
	order := map[string]int{}
	for _, e := range entries {
		step, n, ok := parseName(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		order[e.Name()] = n
		path := filepath.Join(dir, e.Name())
		info, err := Stat(path)
		if err != nil {
			info = Info{Name: e.Name(), Path: path, Step: step, Err: err}
		}
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(order[a.Name], order[b.Name]))
	})
	return all, nil
}

// Stat is what List says of the checkpoint at path.
func Stat(path string) (Info, error) {
	m, err := readManifest(path)
	if err != nil {
		return Info{}, err
	}
	info := Info{Name: filepath.Base(path), Path: path, Step: m.Step, Score: m.Score, Time: m.Time}
	for _, f := range m.Files {
		info.Bytes += f.Bytes
	}
	return info, nil
}

// Find is the path of the checkpoint of a name, which may also be a step ("step-1200",
// "1200") or the path of a checkpoint. Of several of one step it is the first.
func Find(dir, name string) (string, error) {
	if strings.ContainsAny(name, `/\`) {
		return filepath.Clean(name), nil
	}
	all, err := List(dir)
	if err != nil {
		return "", err
	}
	var known []string
	for _, info := range all {
		if info.Name == name {
			return info.Path, nil
		}
		known = append(known, info.Name)
	}
	step, n, ok := parseName("step-" + strings.TrimPrefix(name, "step-"))
	if ok && slices.Contains(known, folderName(step, n)) {
		return filepath.Join(dir, folderName(step, n)), nil
	}
	if len(known) == 0 {
		return "", fmt.Errorf("there is no checkpoint %q: there is none in %s", name, dir)
	}
	return "", fmt.Errorf("there is no checkpoint %q in %s; there are %s", name, dir, strings.Join(known, ", "))
}

// Latest is the path of the checkpoint to go on from: of the highest step, and of
// several of one step the first, which has everything still before it that followed
// the step. It is empty where there is none. Whether it is whole, Read tells.
func Latest(dir string) (string, error) {
	all, err := List(dir)
	if err != nil || len(all) == 0 {
		return "", err
	}
	last := all[len(all)-1].Step
	return all[slices.IndexFunc(all, func(i Info) bool { return i.Step == last })].Path, nil
}

// Before is the newest whole checkpoint of a step before that of the given one; empty
// where there is none. It reads them through.
func Before(path string) string {
	step, _, ok := parseName(filepath.Base(path))
	all, err := List(filepath.Dir(path))
	if !ok || err != nil {
		return ""
	}
	for _, info := range slices.Backward(all) {
		if info.Step >= step {
			continue
		}
		if _, err := Read(info.Path); err == nil {
			return info.Path
		}
	}
	return ""
}

// Read reads a checkpoint and checks all of it.
func Read(path string) (*Content, error) {
	m, err := readManifest(path)
	if err != nil {
		return nil, err
	}
	c := &Content{Step: m.Step, Score: m.Score, Tensors: map[string][]safetensors.Tensor{}}
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		text, err := readFile(path, name, m.Files[name])
		if err != nil {
			return nil, err
		}
		if name == stateFile {
			c.State = text
			continue
		}
		if c.Tensors[strings.TrimSuffix(name, suffix)], err = decode(path, name, text); err != nil {
			return nil, err
		}
	}
	if c.State == nil {
		return nil, &DamagedError{path, manifestFile, "does not list " + stateFile}
	}
	return c, nil
}

// maxManifest is more than a checkpoint.json has.
const maxManifest = 1 << 20

func readManifest(path string) (*manifest, error) {
	bad := func(format string, args ...any) error {
		return &DamagedError{path, manifestFile, fmt.Sprintf(format, args...)}
	}
	f, err := os.Open(filepath.Join(path, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("there is no checkpoint %s", path)
		}
		return nil, bad("is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	m := new(manifest)
	switch err := json.Unmarshal(text, m); {
	case len(text) == 0:
		return nil, bad("is empty")
	case len(text) > maxManifest:
		return nil, bad("has more than %d bytes", maxManifest)
	case err != nil:
		return nil, bad("is no JSON: %v", err)
	case m.Format > format:
		return nil, fmt.Errorf("the checkpoint %s has format %d; this version of Sinter reads up to %d", path, m.Format, format)
	}
	if want, err := m.text(); err != nil || !bytes.Equal(text, want) {
		return nil, bad("is not as it was written")
	}
	for name := range m.Files {
		if name != filepath.Base(name) || name != stateFile && !strings.HasSuffix(name, suffix) {
			return nil, bad("lists %q, which no checkpoint has", name)
		}
	}
	return m, nil
}

// readFile reads a file of a checkpoint and compares it with the list.
func readFile(path, name string, want file) ([]byte, error) {
	bad := func(format string, args ...any) error {
		return &DamagedError{path, name, fmt.Sprintf(format, args...)}
	}
	full := filepath.Join(path, name)
	info, err := os.Stat(full)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, bad("is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	if info.Size() != want.Bytes {
		return nil, bad("has %d bytes, expected %d", info.Size(), want.Bytes)
	}
	text, err := os.ReadFile(full)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != want.SHA256 {
		return nil, bad("has the SHA-256 %x, expected %s", sum, want.SHA256)
	}
	return text, nil
}

// decode takes the tensors out of a file; they share its memory.
func decode(path, name string, text []byte) ([]safetensors.Tensor, error) {
	f, err := safetensors.New(bytes.NewReader(text), int64(len(text)), filepath.Join(path, name))
	if err != nil {
		return nil, err
	}
	var tensors []safetensors.Tensor
	for _, tensor := range f.Names() {
		info, _ := f.Info(tensor)
		content, err := f.Read(tensor)
		if err != nil {
			return nil, err
		}
		tensors = append(tensors, safetensors.Tensor{Name: tensor, DType: info.DType, Shape: info.Shape, Data: content})
	}
	return tensors, nil
}

// Keep says which checkpoints stay.
type Keep struct {
	Last   int  // those of so many highest steps
	Best   int  // those with so many best scores
	Higher bool // a higher score is better
}

// Prune removes the checkpoints that are not to be kept, and what an interrupted Write
// or Prune left behind.
func Prune(dir string, k Keep) error {
	all, err := List(dir)
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	steps := map[int]bool{}
	for _, info := range slices.Backward(all) {
		if len(steps) == k.Last && !steps[info.Step] {
			break
		}
		steps[info.Step] = true
		keep[info.Name] = true
	}
	ranked := Ranked(all, k.Higher)
	for _, info := range ranked[:min(k.Best, len(ranked))] {
		keep[info.Name] = true
	}
	var failures []error
	for _, info := range all {
		if !keep[info.Name] {
			failures = append(failures, Remove(info.Path))
		}
	}
	return errors.Join(append(failures, Clean(dir))...)
}

// Ranked are the checkpoints that have a score, the best first; of equal ones the
// earlier.
func Ranked(all []Info, higher bool) []Info {
	var scored []Info
	for _, info := range all {
		if info.Score != nil {
			scored = append(scored, info)
		}
	}
	slices.SortStableFunc(scored, func(a, b Info) int {
		if higher {
			a, b = b, a
		}
		return cmp.Compare(a.Score.Value, b.Score.Value)
	})
	return scored
}

// Remove removes a checkpoint: first its name, so that none is seen in part.
func Remove(path string) error {
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+removed)
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	if err := os.Rename(path, temp); err != nil {
		return fmt.Errorf("removing a checkpoint: %w", err)
	}
	return os.RemoveAll(temp)
}

// RemoveAfter removes the checkpoints of a folder that were written after the given
// one, if that is one of them: those of higher steps, and later ones of its own.
func RemoveAfter(dir, path string) error {
	all, err := List(dir)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(i Info) bool { return i.Path == filepath.Join(dir, filepath.Base(path)) })
	if at < 0 || filepath.Clean(filepath.Dir(path)) != filepath.Clean(dir) {
		return nil
	}
	for _, info := range slices.Backward(all[at+1:]) {
		if err := Remove(info.Path); err != nil {
			return err
		}
	}
	return nil
}

// Clean removes what an interrupted Write or Remove left behind.
func Clean(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var failures []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".step-") && (strings.HasSuffix(e.Name(), partial) || strings.HasSuffix(e.Name(), removed)) {
			failures = append(failures, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(append(failures, err)...)
}
