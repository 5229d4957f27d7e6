package data

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/format/npy"
	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
)

// arrayMemory is the size above which the rows of an array stay in their file.
const arrayMemory = 1 << 30

// ArrayOptions say what OpenArrays makes of its arrays.
type ArrayOptions struct {
	// Task of the model; "" chooses classification if y holds integers of at most
	// 1000 different values.
	Task         Task
	TestFraction float64 // held out if there are no arrays for testing; 0: a fifth
	Seed         uint64  // of the choice of that part

	// Of a model that has been trained already: then everything is read as it was for
	// its training, and nothing is held out.
	Classes []string
	Encoder *Encoder
}

// arrayNames are those under which the arrays are looked for, upper and lower case being
// the same.
var arrayNames = struct{ x, y, testX, testY []string }{
	x:     []string{"x_train", "train_x", "x", "images", "features", "data"},
	y:     []string{"y_train", "train_y", "y", "labels", "targets", "target"},
	testX: []string{"x_test", "test_x", "x_val", "val_x"},
	testY: []string{"y_test", "test_y", "y_val", "val_y"},
}

// OpenArrays reads arrays of NumPy's from an NPZ file, or from NPY files in a folder:
// x and y with the examples along their first axis (also called x_train and y_train, or
// images and labels) and, where they are there, x_test and y_test.
//
// X becomes float32: bytes from 0 to 1, other numbers as they are. Images of bytes may
// be [N, height, width], [N, height, width, channels] or [N, channels, height, width].
// Y has one value for each example: the number of a class, or a target, which is
// standardised for training, see Source.Encoder.
//
// Rows of arrays above 1 GiB that are stored as they are (NPY files and numpy.savez,
// not numpy.savez_compressed) stay in the file until they are read.
func OpenArrays(path string, opt ArrayOptions) (*Source, error) {
	set, err := openArraySet(path)
	if err != nil {
		return nil, err
	}
	defer set.close()
	x, xName, err := set.find(arrayNames.x, "x")
	if err != nil {
		return nil, err
	}
	y, yName, err := set.find(arrayNames.y, "y")
	if err != nil {
		return nil, err
	}
	src := &Source{Classes: slices.Clone(opt.Classes), Encoder: opt.Encoder, Task: opt.Task}
	form, note, err := formOf(x, xName)
	if err != nil {
		return nil, err
	}
	if note != "" {
		src.note("%s", note)
	}
	values, err := y.values(yName, x.shape[0], xName)
	if err != nil {
		return nil, err
	}
	var trainRows, testRows []int
	testX, testXName, err := set.find(arrayNames.testX, "")
	if err != nil {
		return nil, err
	}
	trained := opt.Classes != nil || opt.Encoder != nil
	if testX == nil && !trained {
		if trainRows, testRows, err = splitIndex(len(values), cmp.Or(opt.TestFraction, 0.2), opt.Seed); err != nil {
			return nil, fmt.Errorf("data: %s: holding out examples for testing: %w", path, err)
		}
	}
	if !trained {
		if err := src.fitValues(values, trainRows, y.dtype != sinter.Float32 && y.dtype != sinter.Float64 && y.dtype != sinter.Float16, yName); err != nil {
			return nil, err
		}
	} else if src.Task = Classification; opt.Encoder != nil {
		src.Task = Regression
	}
	all, err := src.arrayDataset(x, form, values, yName)
	if err != nil {
		return nil, err
	}
	src.Train = all
	switch {
	case testX != nil:
		testY, testYName, err := set.find(arrayNames.testY, "y_test")
		if err != nil {
			return nil, err
		}
		if !slices.Equal(testX.shape[1:], x.shape[1:]) || testX.dtype != x.dtype {
			return nil, fmt.Errorf("data: %s: examples are %s %v, those for training %s %v", testXName, testX.dtype, testX.shape[1:], x.dtype, x.shape[1:])
		}
		values, err := testY.values(testYName, testX.shape[0], testXName)
		if err != nil {
			return nil, err
		}
		if src.Test, err = src.arrayDataset(testX, form, values, testYName); err != nil {
			return nil, err
		}
	case testRows != nil:
		src.Train, src.Test = subset{all, trainRows}, subset{all, testRows}
		src.note("%d of %d examples are held out for testing, chosen by seed %d", len(testRows), len(values), opt.Seed)
	}
	src.Digest = hex.EncodeToString(set.sum[:])
	return src, nil
}

// arraySet is the arrays of a folder or archive.
type arraySet struct {
	path    string
	archive *npy.Archive
	names   map[string]string // lower case → the name there
	sum     [sha256.Size]byte // of what was read
	keep    bool              // the file stays open for rows
}

func openArraySet(path string) (*arraySet, error) {
	s := &arraySet{path: path, names: map[string]string{}}
	head := []byte(nil)
	if !isDir(path) {
		var err error
		if head, err = firstBytes(path, 6); err != nil {
			return nil, err
		}
	}
	var names []string
	switch {
	case isDir(path), bytes.Equal(head, []byte("\x93NUMPY")):
		if head != nil {
			s.path = filepath.Dir(path)
			base := strings.ToLower(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)))
			if !slices.Contains(arrayNames.x, base) {
				return nil, fmt.Errorf("data: %s is one array; expected an .npz file with x and y, or a folder with x.npy and y.npy", path)
			}
		}
		entries, err := os.ReadDir(s.path)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		for _, e := range entries {
			if name, ok := strings.CutSuffix(e.Name(), ".npy"); ok && !e.IsDir() {
				names = append(names, name)
			}
		}
	default:
		a, err := npy.OpenArchive(path)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		s.archive, names = a, a.Names()
	}
	for _, name := range names {
		s.names[strings.ToLower(name)] = name
	}
	return s, nil
}

func (s *arraySet) close() {
	if s.archive != nil && !s.keep {
		s.archive.Close()
	}
}

// find opens the first array that is there of some. Without one it is an error, unless
// need is "".
func (s *arraySet) find(names []string, need string) (*rowArray, string, error) {
	for _, n := range names {
		name, ok := s.names[n]
		if !ok {
			continue
		}
		full := filepath.Join(s.path, name+".npy")
		if s.archive != nil {
			full = s.path + ": " + name
		}
		a, err := s.open(name, full)
		if err != nil {
			return nil, full, fmt.Errorf("data: %w", err)
		}
		if len(a.shape) == 0 || slices.Min(a.shape) == 0 {
			return nil, full, fmt.Errorf("data: %s has the shape %v, expected examples along its first axis", full, a.shape)
		}
		return a, full, nil
	}
	if need == "" {
		return nil, "", nil
	}
	known := make([]string, 0, len(s.names))
	for _, name := range s.names {
		known = append(known, name)
	}
	slices.Sort(known)
	return nil, "", fmt.Errorf("data: %s holds no array %s (nor %s), only %s; save it under that name", s.path, need, strings.Join(names, ", "), strings.Join(shorten(known, 20), ", "))
}

func (s *arraySet) open(name, full string) (*rowArray, error) {
	var file *npy.File
	if s.archive != nil {
		f, ok, err := s.archive.Open(name)
		if err != nil {
			return nil, err
		}
		if !ok { // compressed
			a, err := s.archive.Read(name)
			if err != nil {
				return nil, err
			}
			return s.held(a), nil
		}
		file = f
	} else {
		f, err := npy.Open(full)
		if err != nil {
			return nil, err
		}
		file = f
	}
	size := int64(file.DType.Size())
	for _, n := range file.Shape {
		size *= int64(n)
	}
	if size > arrayMemory && !file.Fortran() {
		s.keep = true
		s.sum = sha256.Sum256(fmt.Appendf(s.sum[:], "%s %s %v", name, file.DType, file.Shape))
		return &rowArray{dtype: file.DType, shape: file.Shape, file: file}, nil
	}
	defer file.Close()
	var a *npy.Array
	var err error
	if s.archive != nil {
		a, err = s.archive.Read(name) // which checks the sum
	} else {
		a, err = file.Read()
	}
	if err != nil {
		return nil, err
	}
	return s.held(a), nil
}

func (s *arraySet) held(a *npy.Array) *rowArray {
	digest := sha256.New()
	fmt.Fprintf(digest, "%x %s %v", s.sum, a.DType, a.Shape)
	digest.Write(a.Data)
	digest.Sum(s.sum[:0])
	return &rowArray{dtype: a.DType, shape: a.Shape, data: a.Data}
}

// rowArray is an array whose rows are read one by one, from memory or a file.
type rowArray struct {
	dtype sinter.DType
	shape []int
	data  []byte
	file  *npy.File
}

// row is the elements of row i, little-endian. buf is used if they are in a file.
func (a *rowArray) row(i int, buf []byte) ([]byte, error) {
	size := a.dtype.Size()
	for _, n := range a.shape[1:] {
		size *= n
	}
	if a.file == nil {
		return a.data[i*size : (i+1)*size], nil
	}
	buf = slices.Grow(buf[:0], size)[:size]
	return buf, a.file.ReadRows(i, 1, buf)
}

// values are the values of y, of which there has to be one for each of n examples.
func (a *rowArray) values(name string, n int, xName string) ([]float64, error) {
	count := 1
	for _, s := range a.shape[1:] {
		count *= s
	}
	if count != 1 {
		return nil, fmt.Errorf("data: %s has the shape %v, expected one value for each example; of values that are 1 for the class and 0 for others, save argmax(axis=1)", name, a.shape)
	}
	if a.shape[0] != n {
		return nil, fmt.Errorf("data: %s has %d values, but %s has %d examples", name, a.shape[0], xName, n)
	}
	out := make([]float64, n)
	var buf []byte
	one := make([]byte, 4)
	for i := range out {
		row, err := a.row(i, buf)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		buf = row
		switch a.dtype {
		case sinter.Float64:
			out[i] = math.Float64frombits(binary.LittleEndian.Uint64(row))
		case sinter.Int64:
			out[i] = float64(int64(binary.LittleEndian.Uint64(row)))
		default:
			npy.ToFloat32(one, a.dtype, row)
			out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(one)))
		}
		if math.IsNaN(out[i]) || math.IsInf(out[i], 0) {
			return nil, fmt.Errorf("data: %s: value %d is %v, expected a finite number", name, i, out[i])
		}
	}
	return out, nil
}

// arrayForm is what becomes of a row of x.
type arrayForm struct {
	shape []int
	unit  bool // bytes become 0 to 1
	last  int  // channels, where they are the last axis and have to become the first
}

func formOf(x *rowArray, name string) (f arrayForm, note string, err error) {
	shape := x.shape[1:]
	f.shape, f.unit = slices.Clone(shape), x.dtype == sinter.Uint8
	size := 1
	for _, n := range shape {
		if size *= n; size > maxPixels {
			return f, "", fmt.Errorf("data: %s: one example has the shape %v, expected at most %d elements", name, shape, maxPixels)
		}
	}
	channels := func(n int) bool { return n == 1 || n == 3 }
	switch {
	case len(shape) == 0:
		f.shape = []int{1}
	case len(shape) == 2:
		f.shape = []int{1, shape[0], shape[1]}
		note = fmt.Sprintf("%s: examples of %v are taken as images with one channel", name, shape)
	case len(shape) == 3 && channels(shape[2]) && !channels(shape[0]):
		f.shape, f.last = []int{shape[2], shape[0], shape[1]}, shape[2]
		note = fmt.Sprintf("%s: examples of %v are taken as images whose last axis is the channels, which become the first", name, shape)
	case len(shape) > 3:
		return f, "", fmt.Errorf("data: %s: examples have the shape %v, expected at most 3 axes", name, shape)
	}
	return f, note, nil
}

// fitValues chooses the task by the values of y, and fits what belongs to it on the
// rows for training (nil: all).
func (s *Source) fitValues(values []float64, rows []int, integers bool, name string) error {
	distinct := map[float64]bool{}
	whole := true
	for _, v := range values {
		whole = whole && v == math.Trunc(v)
		if len(distinct) <= maxCategories {
			distinct[v] = true
		}
	}
	if len(distinct) < 2 {
		return fmt.Errorf("data: %s is %v in all %d examples; expected at least two different values to learn from", name, values[0], len(values))
	}
	switch {
	case s.Task == "" && integers && len(distinct) <= maxCategories:
		s.Task = Classification
	case s.Task == "":
		s.Task = Regression
	case s.Task == Classification && (!whole || len(distinct) > maxCategories):
		return fmt.Errorf("data: %s: expected whole numbers of at most %d classes for a classification; choose regression", name, maxCategories)
	case s.Task != Classification && s.Task != Regression:
		return fmt.Errorf("data: task %q, expected %q or %q", s.Task, Classification, Regression)
	}
	if s.Task == Classification {
		for v := range distinct {
			s.Classes = append(s.Classes, strconv.FormatInt(int64(v), 10))
		}
		sortClasses(s.Classes)
		s.note("%s: classification into %d classes, %s", name, len(s.Classes), strings.Join(shorten(s.Classes, 10), ", "))
		return nil
	}
	sum, n := 0.0, 0
	each := func(visit func(v float64)) {
		if rows == nil {
			for _, v := range values {
				visit(v)
			}
		}
		for _, i := range rows {
			visit(values[i])
		}
	}
	each(func(v float64) { sum += v; n++ })
	mean, square := sum/float64(n), 0.0
	each(func(v float64) { square += (v - mean) * (v - mean) })
	std := math.Sqrt(square / float64(n))
	if math.IsInf(std, 0) || math.IsNaN(std) {
		return fmt.Errorf("data: %s: the numbers are too large, their mean or deviation is not finite; use another unit", name)
	}
	if std <= 1e-12*math.Abs(mean) || std < 1e-150 {
		std = 1
	}
	s.Encoder = &Encoder{Columns: []Column{{Name: "y", Kind: TargetColumn}}, Task: Regression, Mean: mean, Std: std}
	s.note("%s: regression, mean %.4g, standard deviation %.4g", name, mean, std)
	return nil
}

// arrayExamples is the dataset of x and y.
type arrayExamples struct {
	fields []Field
	x      *rowArray
	form   arrayForm
	y      []byte // of all examples
}

func (s *Source) arrayDataset(x *rowArray, form arrayForm, values []float64, name string) (Dataset, error) {
	ds := &arrayExamples{x: x, form: form, fields: []Field{{Name: "x", DType: sinter.Float32, Shape: form.shape}}}
	if s.Task == Regression {
		ds.fields = append(ds.fields, Field{Name: "y", DType: sinter.Float32, Shape: []int{1}})
		for _, v := range values {
			ds.y = binary.LittleEndian.AppendUint32(ds.y, math.Float32bits(float32((v-s.Encoder.Mean)/s.Encoder.Std)))
		}
		return ds, nil
	}
	ds.fields = append(ds.fields, Field{Name: "y", DType: sinter.Int64})
	index := map[string]int{}
	for i, c := range s.Classes {
		index[c] = i
	}
	for i, v := range values {
		k, ok := index[strconv.FormatInt(int64(v), 10)]
		if !ok || v != math.Trunc(v) {
			return nil, fmt.Errorf("data: %s: value %d is %v, which is none of the classes %s", name, i, v, strings.Join(shorten(s.Classes, 20), ", "))
		}
		ds.y = binary.LittleEndian.AppendUint64(ds.y, uint64(k))
	}
	return ds, nil
}

func (ds *arrayExamples) Len() int        { return ds.x.shape[0] }
func (ds *arrayExamples) Fields() []Field { return ds.fields }

func (ds *arrayExamples) Read(i int, dst [][]byte) error {
	row, err := ds.x.row(i, nil)
	if err != nil {
		return fmt.Errorf("data: example %d: %w", i, err)
	}
	if c := ds.form.last; c > 1 {
		row = channelsFirst(row, c, ds.x.dtype.Size())
	}
	if ds.form.unit {
		vec.BytesToUnit(dst[0], row)
	} else {
		npy.ToFloat32(dst[0], ds.x.dtype, row)
	}
	size := ds.fields[1].Bytes()
	copy(dst[1], ds.y[i*size:(i+1)*size])
	return nil
}

// channelsFirst moves the last axis, of c elements of some bytes each, to the front.
func channelsFirst(row []byte, c, size int) []byte {
	out := make([]byte, len(row))
	area := len(row) / size / c
	for i := range area {
		for k := range c {
			copy(out[(k*area+i)*size:][:size], row[(i*c+k)*size:][:size])
		}
	}
	return out
}
