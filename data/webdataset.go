package data

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/format/npy"
)

// WebDataset is a Stream of tar archives in which the files of one example stand next
// to each other and share a name up to its first dot: 000017.jpg, 000017.cls, as the
// Python package of that name has them. Archives may be compressed by gzip. Nothing is
// ever unpacked to the disk: names serve to group the files and in messages, and links,
// devices and sparse files are refused.
type WebDataset struct {
	shards []string
	fields []Field
	parts  []Member
	n      int // examples, -1 if that is not known
}

// Member is what one file of each example becomes.
type Member struct {
	// Exts are the endings that the file may have, of which an example has one: all of
	// its name behind the first dot, in lower case.
	Exts  []string
	Field Field
	// Decode makes the field of the file's content and returns how many bytes of dst it
	// wrote. name is for messages. It is called by several goroutines at once.
	Decode func(name string, content, dst []byte) (n int, err error)
	// View, of pictures only, is Decode in the view that choose returns for a picture of
	// that width and height.
	View func(name string, content, dst []byte, choose func(width, height int) View) error
}

// ImageMember makes an image file X, float32 [channels, height, width] from 0 to 1.
// Size and channels have to be given.
func ImageMember(opt ImageOptions) Member {
	view := func(name string, content, dst []byte, choose func(width, height int) View) error {
		s := viewers.Get().(*viewer)
		defer viewers.Put(s)
		return s.view(content, name, opt.Channels, dst, choose)
	}
	return Member{
		Exts:  []string{"jpg", "jpeg", "png", "webp", "gif"},
		Field: Field{Name: "x", DType: sinter.Float32, Shape: []int{opt.Channels, opt.Height, opt.Width}},
		Decode: func(name string, content, dst []byte) (int, error) {
			return len(dst), view(name, content, dst, whole(opt.Height, opt.Width))
		},
		View: view,
	}
}

// ClassMember makes the name of a class, as a file .cls or .txt has it, its number.
func ClassMember(classes []string) Member {
	index := map[string]int64{}
	for i, name := range classes {
		index[name] = int64(i)
	}
	return Member{
		Exts:  []string{"cls", "txt"},
		Field: Field{Name: "y", DType: sinter.Int64},
		Decode: func(name string, content, dst []byte) (int, error) {
			class := strings.TrimSpace(string(content[:min(len(content), 1000)]))
			k, ok := index[class]
			if !ok {
				return 0, fmt.Errorf("data: %s: the class %q is none of %s", name, brief([]byte(class)), strings.Join(shorten(classes, 20), ", "))
			}
			putInt(dst, sinter.Int64, 0, k)
			return 8, nil
		},
	}
}

// TextMember makes a text at most `most` tokens; the field is ragged.
func TextMember(encode func(string) ([]int64, error), most int) Member {
	return Member{
		Exts:  []string{"txt", "text"},
		Field: Field{Name: "x", DType: sinter.Int64, Shape: []int{most}, Ragged: true},
		Decode: func(name string, content, dst []byte) (int, error) {
			ids, err := encode(string(content))
			if err != nil {
				return 0, fmt.Errorf("data: %s: %w", name, err)
			}
			return copy(dst, bytesOf(ids[:min(len(ids), most)])), nil
		},
	}
}

// JSONMember takes a value out of a JSON file.
func JSONMember(f JSONField) (Member, error) {
	lines, err := NewJSONL([]string{"json"}, f)
	if err != nil {
		return Member{}, err
	}
	return Member{
		Exts:  []string{"json"},
		Field: lines.fields[0],
		Decode: func(name string, content, dst []byte) (int, error) {
			to := [][]byte{dst}
			if err := lines.parse(0, content, to); err != nil {
				return 0, fmt.Errorf("data: %s: %w", name, err)
			}
			return len(to[0]), nil
		},
	}, nil
}

// ArrayMember is an array of NumPy's, which must have the field's type and shape.
func ArrayMember(f Field) Member {
	return Member{
		Exts:  []string{"npy"},
		Field: f,
		Decode: func(name string, content, dst []byte) (int, error) {
			a, err := npy.Read(bytes.NewReader(content), int64(len(content)), name)
			if err != nil {
				return 0, fmt.Errorf("data: %w", err)
			}
			if a.DType != f.DType || !slices.Equal(a.Shape, f.Shape) {
				return 0, fmt.Errorf("data: %s is %s %v, expected %s %v", name, a.DType, a.Shape, f.DType, f.Shape)
			}
			return copy(dst, a.Data), nil
		},
	}
}

// NewWebDataset is a stream of the given archives; see Shards for names with braces.
func NewWebDataset(shards []string, members ...Member) (*WebDataset, error) {
	if len(shards) == 0 || len(members) == 0 {
		return nil, fmt.Errorf("data: a WebDataset of %d archives with %d members of an example; expected at least one of each", len(shards), len(members))
	}
	w := &WebDataset{shards: slices.Clone(shards), parts: slices.Clone(members), n: -1}
	for i, m := range members {
		if len(m.Exts) == 0 || m.Decode == nil || m.Field.Bytes() <= 0 || m.Field.Bytes() > maxRecord {
			return nil, fmt.Errorf("data: member %d of a WebDataset, %+v: expected endings, a way to decode it, and a field of 1 to %d bytes", i, m.Field, maxRecord)
		}
		w.fields = append(w.fields, m.Field)
	}
	return w, nil
}

// Shards are the files that a pattern names: braces hold a range ("train-{000..147}.tar")
// or alternatives ("{train,more}.tar"), an asterisk and the like stand for what is there,
// and of a folder the archives in it are meant.
func Shards(pattern string) ([]string, error) {
	if isDir(pattern) {
		entries, err := os.ReadDir(pattern)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		var found []string
		for _, e := range entries {
			if !e.IsDir() && isTarName(e.Name()) {
				found = append(found, filepath.Join(pattern, e.Name()))
			}
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("data: %s holds no .tar, .tar.gz or .tgz files", pattern)
		}
		return found, nil
	}
	names, err := expandBraces(pattern, 1<<16)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, name := range names {
		_, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(name, "*?[") {
			found, err := filepath.Glob(name)
			if err != nil || len(found) == 0 {
				return nil, fmt.Errorf("data: no file matches %s", name)
			}
			all = append(all, found...)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("data: the archives %s: %w", pattern, err)
		}
		all = append(all, name)
	}
	return all, nil
}

func isTarName(name string) bool {
	name = strings.ToLower(name)
	return !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, ".tar") || strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz"))
}

// expandBraces gives at most `most` names.
func expandBraces(pattern string, most int) ([]string, error) {
	names := []string{""}
	for pattern != "" {
		before, rest, found := strings.Cut(pattern, "{")
		inside, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			before, inside, after = pattern, "", ""
		}
		alternatives := []string{""}
		if low, high, ok := strings.Cut(inside, ".."); ok {
			from, err1 := strconv.Atoi(low)
			to, err2 := strconv.Atoi(high)
			if err1 != nil || err2 != nil || from < 0 || to < from {
				return nil, fmt.Errorf("data: %q: the range {%s} has to go from a number to one that is not smaller, such as {000..147}", pattern, inside)
			}
			if to-from >= most {
				return nil, fmt.Errorf("data: %q stands for more than %d names", pattern, most)
			}
			alternatives = alternatives[:0]
			for i := from; i <= to; i++ {
				alternatives = append(alternatives, fmt.Sprintf("%0*d", len(low), i))
			}
		} else if inside != "" {
			alternatives = strings.Split(inside, ",")
		}
		if len(names)*len(alternatives) > most {
			return nil, fmt.Errorf("data: %q stands for more than %d names", pattern, most)
		}
		var longer []string
		for _, name := range names {
			for _, a := range alternatives {
				longer = append(longer, name+before+a)
			}
		}
		names, pattern = longer, after
	}
	return names, nil
}

// Fields describes an example.
func (w *WebDataset) Fields() []Field { return w.fields }

// Len is the number of examples if the archives were read before, as OpenWebDataset does
// it, or -1: they do not say how much they hold.
func (w *WebDataset) Len() int { return w.n }

// Decode makes an example of its files.
func (w *WebDataset) Decode(r *Record, dst [][]byte) error { return w.decode(r, dst, nil) }

// HasPictures tells whether the first member is one of ImageMember.
func (w *WebDataset) HasPictures() bool { return w.parts[0].View != nil }

// DecodeView is Decode with another view of the picture.
func (w *WebDataset) DecodeView(r *Record, dst [][]byte, choose func(width, height int) View) error {
	return w.decode(r, dst, choose)
}

// decode is DecodeView, and Decode if choose is nil.
func (w *WebDataset) decode(r *Record, dst [][]byte, choose func(width, height int) View) error {
	if len(r.Ends) != len(w.parts)+1 {
		return fmt.Errorf("data: a record with %d parts, expected %d", len(r.Ends), len(w.parts)+1)
	}
	names := strings.Split(string(r.Data[r.Ends[len(w.parts)-1]:r.Ends[len(w.parts)]]), "\x00")
	if len(names) != len(w.parts)+1 { // a zero in a name
		names = append([]string{names[0]}, make([]string, len(w.parts))...)
	}
	from := 0
	for i, m := range w.parts {
		name := w.shards[r.File] + ": " + names[0] + "." + names[i+1]
		content := r.Data[from:r.Ends[i]]
		from = r.Ends[i]
		if i == 0 && choose != nil {
			if err := m.View(name, content, dst[0], choose); err != nil {
				return err
			}
			continue
		}
		n, err := m.Decode(name, content, dst[i])
		if err != nil {
			return err
		}
		if !m.Field.Ragged && n != m.Field.Bytes() {
			return fmt.Errorf("data: %s: %d bytes were made of it, expected %d", name, n, m.Field.Bytes())
		}
		dst[i] = dst[i][:n]
	}
	return nil
}

// Open begins a pass.
func (w *WebDataset) Open(pass Pass, from Mark) (StreamReader, error) {
	r := &tarReader{of: w, pass: pass, mark: from}
	r.files, r.deal = pass.Files(len(w.shards))
	if err := checkMark(from, len(r.files)); err != nil {
		return nil, err
	}
	return r, nil
}

type tarReader struct {
	of     *WebDataset
	pass   Pass
	files  []int
	deal   bool
	groups *tarGroups // of the open archive
	mark   Mark
}

func (r *tarReader) Mark() Mark { return r.mark }

func (r *tarReader) Close() error {
	if r.groups == nil {
		return nil
	}
	c := r.groups.content
	r.groups = nil
	return c.close()
}

func (r *tarReader) Next(rec *Record) error {
	for r.mark.File < len(r.files) {
		file := r.files[r.mark.File]
		if r.groups == nil {
			c, err := openContent(r.of.shards[file], r.mark.Offset)
			if err != nil {
				return err
			}
			r.groups = newTarGroups(c, r.mark.Offset)
		}
		number := r.mark.Record
		mine := !r.deal || r.pass.Mine(number)
		g, err := r.groups.next(func(ext string) bool { return mine && r.of.part(ext) >= 0 }, rec.Data[:0])
		if errors.Is(err, io.EOF) {
			if err := r.Close(); err != nil {
				return fmt.Errorf("data: %w", err)
			}
			r.mark = Mark{File: r.mark.File + 1}
			continue
		}
		if err != nil {
			return err
		}
		rec.Data = g.data
		r.mark.Offset, r.mark.Record = r.groups.nextAt, number+1
		if !mine {
			continue
		}
		rec.Index, rec.File, rec.Place = int64(file)<<32|number, file, number
		if err := r.of.arrange(rec, g); err != nil {
			return &RecordError{rec.Index, fmt.Errorf("data: %s, example %s: %w", r.of.shards[file], g.key, err)}
		}
		return nil
	}
	return io.EOF
}

// part is the number of the field that a file with the ending is for, or -1.
func (w *WebDataset) part(ext string) int {
	return slices.IndexFunc(w.parts, func(m Member) bool { return slices.Contains(m.Exts, ext) })
}

// arrange puts the files of an example in the order of the fields, and behind them its
// key and their endings, parted by zeros.
func (w *WebDataset) arrange(rec *Record, g tarGroup) error {
	if g.err != nil {
		return g.err
	}
	begin := len(g.data)
	rec.Ends = rec.Ends[:0]
	from := make([]int, 0, len(w.parts))
	for i, m := range w.parts {
		at := -1
		for _, ext := range m.Exts {
			if at = slices.IndexFunc(g.members, func(t tarMember) bool { return t.ext == ext }); at >= 0 {
				break
			}
		}
		if at < 0 {
			return fmt.Errorf("there is no .%s file; it has %s", strings.Join(m.Exts, " or ."), g.list())
		}
		from = append(from, at)
		// Several fields may come from one file, and files come in any order, so they
		// are appended anew and moved to the front in one go.
		rec.Data = append(rec.Data, g.data[g.members[at].from:g.members[at].to]...)
		rec.Ends = append(rec.Ends, len(rec.Data)-begin)
		if i == 0 {
			rec.Length = rec.Ends[0]
		}
	}
	rec.Data = append(rec.Data, g.key...)
	for _, at := range from {
		rec.Data = append(append(rec.Data, 0), g.members[at].ext...)
	}
	rec.Ends = append(rec.Ends, len(rec.Data)-begin)
	rec.Data = rec.Data[:copy(rec.Data, rec.Data[begin:])]
	return nil
}

// tarGroups reads the examples of one archive.
type tarGroups struct {
	content *content
	tar     *tar.Reader
	header  *tar.Header // read already, of the next example
	at      int64       // where that header begins
	nextAt  int64       // after next: where the example after it begins
	base    int64       // offset at which tar began to read
}

func newTarGroups(c *content, offset int64) *tarGroups {
	return &tarGroups{content: c, tar: tar.NewReader(c), base: offset}
}

type tarMember struct {
	ext      string
	from, to int // in the data of its group
}

type tarGroup struct {
	key     string
	members []tarMember
	data    []byte
	err     error // why the example cannot be used
}

func (g tarGroup) list() string {
	exts := make([]string, len(g.members))
	for i, m := range g.members {
		exts[i] = "." + m.ext
	}
	return cmp.Or(strings.Join(exts, ", "), "none that is read")
}

// advance reads the next header of a file that belongs to an example.
func (g *tarGroups) advance() error {
	for {
		// What is left of the file before is padding up to a block.
		g.at = g.content.offset + (512-(g.content.offset-g.base)%512)%512
		h, err := g.tar.Next()
		if errors.Is(err, tar.ErrInsecurePath) { // a name is not a path here
			err = nil
		}
		if errors.Is(err, io.EOF) {
			g.header, g.at = nil, g.content.offset
			return io.EOF
		}
		if err != nil {
			return fmt.Errorf("data: %s, byte %d: not a whole tar archive: %w; copy or make it again", g.content.name, g.at, err)
		}
		if _, _, ok := tarKey(h.Name); ok && h.Typeflag != tar.TypeDir && h.Typeflag != tar.TypeXGlobalHeader {
			g.header = h
			return nil
		}
		if _, err := io.Copy(io.Discard, g.tar); err != nil {
			return fmt.Errorf("data: %s, byte %d: %w; copy or make it again", g.content.name, g.content.offset, err)
		}
	}
}

// tarKey parts a name at the first dot of its last element.
func tarKey(name string) (key, ext string, ok bool) {
	dir := strings.LastIndexByte(name, '/') + 1
	dot := strings.IndexByte(name[dir:], '.')
	if dot <= 0 || strings.HasPrefix(name[dir:], "__") && strings.HasSuffix(name[dir:dir+dot], "__") {
		return "", "", false
	}
	return name[:dir+dot], strings.ToLower(name[dir+dot+1:]), true
}

// next reads the files of the next example whose endings are wanted, appending their
// contents to data.
func (g *tarGroups) next(wanted func(ext string) bool, data []byte) (tarGroup, error) {
	if g.header == nil {
		if err := g.advance(); err != nil {
			return tarGroup{data: data}, err
		}
	}
	key, _, _ := tarKey(g.header.Name)
	group := tarGroup{key: key, data: data}
	for g.header != nil {
		k, ext, _ := tarKey(g.header.Name)
		if k != key {
			break
		}
		h := g.header
		sparse := h.Typeflag == tar.TypeGNUSparse
		for record := range h.PAXRecords {
			sparse = sparse || strings.HasPrefix(record, "GNU.sparse.")
		}
		if sparse { // a few bytes may stand for any number of zeros
			return group, fmt.Errorf("data: %s: %s is a sparse file; make the archive without --sparse", g.content.name, h.Name)
		}
		from := len(group.data)
		fail := func(format string, args ...any) {
			if group.err == nil {
				group.err = fmt.Errorf("%s: "+format, append([]any{h.Name}, args...)...)
			}
		}
		switch {
		case !wanted(ext) || group.err != nil:
		case h.Typeflag != tar.TypeReg:
			fail("it is a link or a device, expected an ordinary file")
		case h.Size > int64(maxRecord-from):
			fail("the files of the example have more than %d bytes", maxRecord)
		case slices.ContainsFunc(group.members, func(m tarMember) bool { return m.ext == ext }):
			fail("there are two files .%s of this example", ext)
		default:
			var err error
			if group.data, err = appendAll(group.data, g.tar, int(h.Size)); err != nil {
				return group, fmt.Errorf("data: %s: %s: %w; copy or make the archive again", g.content.name, h.Name, err)
			}
			group.members = append(group.members, tarMember{ext, from, len(group.data)})
		}
		if _, err := io.Copy(io.Discard, g.tar); err != nil {
			return group, fmt.Errorf("data: %s: %s: %w; copy or make the archive again", g.content.name, h.Name, err)
		}
		if err := g.advance(); err != nil && !errors.Is(err, io.EOF) {
			return group, err
		}
	}
	g.nextAt = g.at
	return group, nil
}

// appendAll appends the size bytes that r has left. Memory grows with what comes.
func appendAll(dst []byte, r io.Reader, size int) ([]byte, error) {
	for size > 0 {
		n := min(size, max(64<<10, len(dst)))
		dst = slices.Grow(dst, n)
		got, err := io.ReadFull(r, dst[len(dst):len(dst)+n])
		dst = dst[:len(dst)+got]
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return dst, err
		}
		size -= n
	}
	return dst, nil
}

// OpenWebDataset opens archives of images with a class each, in a file .cls or .txt or
// under "label", "class" or "cls" of a .json file, for classification; see Shards for
// pattern. In a folder, archives whose names begin with "test" or "val" are for testing
// and the others for training. All archives are read once to check them and to find the
// classes.
//
// If the files of the examples take at most opt.Memory they are held in memory, as they
// are, and decoded when they are read. Else the source is a Stream, whose shuffling is
// that of the Loader, and the examples for testing are held in memory.
func OpenWebDataset(pattern string, opt ImageOptions) (*Source, error) {
	shards, err := Shards(pattern)
	if err != nil {
		return nil, err
	}
	var train, test []string
	for _, s := range shards {
		base := strings.ToLower(filepath.Base(s))
		if isDir(pattern) && (strings.HasPrefix(base, "test") || strings.HasPrefix(base, "val")) {
			test = append(test, s)
		} else {
			train = append(train, s)
		}
	}
	if len(train) == 0 {
		train, test = test, nil
	}
	scan := tarScan{classes: map[string]bool{}, image: ImageMember(opt).Exts}
	inTrain := 0
	for i, s := range slices.Concat(train, test) {
		if err := scan.archive(s, opt.KeepBad); err != nil {
			return nil, err
		}
		if i < len(train) {
			inTrain = scan.examples
		}
	}
	src := &Source{Task: Classification, Digest: hex.EncodeToString(scan.digest())}
	if opt.Height == 0 {
		opt.Width, opt.Height = scan.width, scan.height
		src.note("images are %d×%d, the size of the first one", opt.Width, opt.Height)
	}
	opt.Channels = cmp.Or(opt.Channels, 3)
	src.Classes = slices.Collect(maps.Keys(scan.classes))
	if len(src.Classes) < 2 {
		return nil, fmt.Errorf("data: %s: the examples are of %d classes, expected at least 2", pattern, len(src.Classes))
	}
	sortClasses(src.Classes)
	label := ClassMember(src.Classes)
	if scan.key != "" {
		if label, err = JSONMember(JSONField{Key: scan.key, Field: Field{Name: "y"}, Classes: src.Classes}); err != nil {
			return nil, err
		}
	}
	src.note("%d examples of %d classes in %d archives, labels from .%s", scan.examples, len(src.Classes), len(shards), cmp.Or(scan.label, "cls"))
	stream, err := NewWebDataset(train, ImageMember(opt), label)
	if err != nil {
		return nil, err
	}
	stream.n = inTrain
	memory := cmp.Or(opt.Memory, imageMemory)
	if test != nil {
		s, err := NewWebDataset(test, ImageMember(opt), label)
		if err != nil {
			return nil, err
		}
		if src.Test, err = hold(s, memory, opt.KeepBad); err != nil {
			return nil, err
		}
	}
	return src, src.holdOrStream(stream, scan.bytes+recordOverhead*int64(inTrain), memory, opt.KeepBad)
}

// tarScan looks through archives for what OpenWebDataset has to know.
type tarScan struct {
	image         []string
	classes       map[string]bool
	label, key    string // ending of the file with the class, and the key in it if it is JSON
	width, height int    // of the first image
	examples      int
	bytes         int64
	sum           [sha256.Size]byte
}

func (s *tarScan) digest() []byte { return s.sum[:] }

func (s *tarScan) archive(path string, keepBad bool) error {
	c, err := openContent(path, 0)
	if err != nil {
		return err
	}
	defer c.close()
	groups := newTarGroups(c, 0)
	var data []byte
	digest := sha256.New()
	digest.Write(s.sum[:])
	for {
		g, err := groups.next(func(ext string) bool { return true }, data[:0])
		if errors.Is(err, io.EOF) {
			digest.Sum(s.sum[:0])
			return nil
		}
		if err != nil {
			return err
		}
		data = g.data
		fmt.Fprintf(digest, "%s %d\n", g.key, len(data))
		digest.Write(data)
		s.examples++
		if err := s.example(g); err != nil {
			if err = fmt.Errorf("data: %s, example %s: %w", path, g.key, err); !keepBad {
				return err
			}
		}
	}
}

func (s *tarScan) example(g tarGroup) error {
	if g.err != nil {
		return g.err
	}
	find := func(exts ...string) []byte {
		for _, ext := range exts {
			for _, m := range g.members {
				if m.ext == ext {
					s.bytes += int64(m.to - m.from)
					return g.data[m.from:m.to]
				}
			}
		}
		return nil
	}
	img := find(s.image...)
	if img == nil {
		return fmt.Errorf("there is no .%s file; it has %s", strings.Join(s.image, " or ."), g.list())
	}
	w, h, err := pictureSize(img, "its image")
	if err != nil {
		return err
	}
	if orientation(img) >= 5 {
		w, h = h, w
	}
	if s.width == 0 {
		s.width, s.height = w, h
	}
	if s.label == "" { // the first example decides
		for _, ext := range []string{"cls", "json", "txt"} {
			if find(ext) != nil {
				s.label = ext
				break
			}
		}
	}
	label := find(cmp.Or(s.label, "cls"))
	if label == nil {
		return fmt.Errorf("there is no .%s file with its class; it has %s", cmp.Or(s.label, "cls"), g.list())
	}
	class := strings.TrimSpace(string(label[:min(len(label), 1000)]))
	if s.label == "json" {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(label, &object); err != nil {
			return badJSON(err)
		}
		for _, key := range []string{"label", "class", "cls"} {
			if _, ok := object[key]; ok && s.key == "" {
				s.key = key
			}
		}
		ok := false
		if class, ok = scalarText(object[s.key]); !ok {
			return fmt.Errorf("its .json has no class under the key %q", cmp.Or(s.key, "label"))
		}
	}
	if s.classes[class] = true; len(s.classes) > 1<<16 {
		return fmt.Errorf("the files .%s have more than %d different contents; expected the names of classes", s.label, 1<<16)
	}
	return nil
}
