package transforms

import (
	"encoding/binary"
	"fmt"
	"image"
	"math"
	"slices"
	"sync"
	"unsafe"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
)

// Apply is ds with the transforms applied to field 0, in their order, anew in every
// epoch. The field has to be float32 [channels, height, width].
func Apply(ds data.Dataset, seed uint64, list ...Transform) (data.Dataset, error) {
	return ApplyMixed(ds, seed, 0, nil, list...)
}

// ApplyMixed is Apply with a Mix done to each batch at the end. Field 1, which has to be
// the int64 number of one of so many classes, becomes their probabilities, float32
// [classes].
func ApplyMixed(ds data.Dataset, seed uint64, classes int, mixes []Mix, list ...Transform) (data.Dataset, error) {
	pictures, ok := ds.(data.Pictures)
	p, err := newPipeline(ds.Fields(), ok, seed, classes, mixes, list)
	if err != nil {
		return nil, err
	}
	return &transformed{pipeline: p, of: ds, pictures: pictures}, nil
}

// ApplyStream is Apply for a stream. Examples are told apart by Record.Index.
func ApplyStream(s data.Stream, seed uint64, list ...Transform) (data.Stream, error) {
	return ApplyStreamMixed(s, seed, 0, nil, list...)
}

// ApplyStreamMixed is ApplyMixed for a stream.
func ApplyStreamMixed(s data.Stream, seed uint64, classes int, mixes []Mix, list ...Transform) (data.Stream, error) {
	pictures, ok := s.(data.PictureStream)
	p, err := newPipeline(s.Fields(), ok && pictures.HasPictures(), seed, classes, mixes, list)
	if err != nil {
		return nil, err
	}
	return &transformedStream{Stream: s, pipeline: p, pictures: pictures}, nil
}

// transformed is a dataset with transforms, as it is in one epoch.
type transformed struct {
	*pipeline
	of       data.Dataset
	pictures data.Pictures // of, if it is
	epoch    int
}

func (t *transformed) Len() int             { return t.of.Len() }
func (t *transformed) Fields() []data.Field { return t.fields }

// Epoch is the dataset as it is drawn in epoch e.
func (t *transformed) Epoch(e int) data.Dataset {
	at := *t
	at.of, at.epoch = data.AtEpoch(t.of, e), e
	at.pictures, _ = at.of.(data.Pictures)
	return &at
}

func (t *transformed) Read(i int, dst [][]byte) error {
	return t.example(t.epoch, int64(i), dst, func(dst [][]byte, choose func(w, h int) data.View) error {
		if choose != nil {
			return t.pictures.ReadView(i, dst, choose)
		}
		return t.of.Read(i, dst)
	})
}

func (t *transformed) FinishBatch(index, n int, rows [][]byte) { t.mix(t.epoch, index, n, rows) }

// transformedStream is a stream with transforms.
type transformedStream struct {
	data.Stream
	*pipeline
	pictures data.PictureStream // the Stream, if it is
}

func (t *transformedStream) Fields() []data.Field { return t.fields }

func (t *transformedStream) Decode(r *data.Record, dst [][]byte) error {
	return t.example(r.Epoch, r.Index, dst, func(dst [][]byte, choose func(w, h int) data.View) error {
		if choose != nil {
			return t.pictures.DecodeView(r, dst, choose)
		}
		return t.Stream.Decode(r, dst)
	})
}

func (t *transformedStream) FinishBatch(epoch, index, n int, rows [][]byte) {
	t.mix(epoch, index, n, rows)
}

// pipeline is what is done to examples, wherever they come from.
type pipeline struct {
	in     Shape
	fields []data.Field // of the result
	list   []Transform
	shapes []Shape // after each
	mixes  []Mix
	seed   uint64

	// So many of the first transforms are done while the file is decoded.
	head   int
	levels *data.Levels // of a Normalize among them, which is then the last of all
}

// newPipeline checks what is to be done to examples with the given fields. inFiles tells
// whether their pictures can be seen in other views.
func newPipeline(fields []data.Field, inFiles bool, seed uint64, classes int, mixes []Mix, list []Transform) (*pipeline, error) {
	if len(fields) == 0 || fields[0].DType != sinter.Float32 || len(fields[0].Shape) != 3 || fields[0].Ragged {
		return nil, fmt.Errorf("transforms: the dataset has the fields %v, expected field 0 to be pictures: float32 [channels, height, width]", fields)
	}
	p := &pipeline{in: shapeOf(fields[0]), seed: seed, list: slices.Clone(list), mixes: slices.Clone(mixes), fields: slices.Clone(fields)}
	if inFiles {
		p.head = head(list)
	}
	shape := p.in
	for i, step := range list {
		out, err := step.Shape(shape)
		if err != nil {
			return nil, err
		}
		if r, ok := step.(Resize); ok && i < p.head && r.Size != 0 {
			out = Shape{shape.Channels, r.Size, r.Size} // at least: files have sizes of their own
		}
		p.shapes = append(p.shapes, out)
		shape = out
	}
	if p.head > 0 && varies(list[:p.head]) {
		return nil, wrong(list[0], "Size alone gives pictures from files different sizes; give Height and Width, or put a crop of at most that size behind it")
	}
	p.fields[0].Shape = []int{shape.Channels, shape.Height, shape.Width}
	for _, m := range mixes {
		if err := m.check(); err != nil {
			return nil, err
		}
	}
	if len(mixes) > 0 {
		if len(fields) < 2 || fields[1].DType != sinter.Int64 || len(fields[1].Shape) != 0 || classes < 2 {
			return nil, fmt.Errorf("transforms: mixing needs two classes at least and field 1 to be the int64 number of one, but there are %d, and the fields %v", classes, fields)
		}
		p.fields[1] = data.Field{Name: fields[1].Name, DType: sinter.Float32, Shape: []int{classes}}
	}
	if n, ok := last(list); ok && p.head == len(list) {
		p.levels = levels(n, p.in.Channels)
	}
	return p, nil
}

func shapeOf(f data.Field) Shape { return Shape{f.Shape[0], f.Shape[1], f.Shape[2]} }

// varies tells whether the head of a list leaves pictures of different sizes.
func varies(head []Transform) bool {
	r, ok := head[0].(Resize)
	return ok && r.Size != 0 && !slices.ContainsFunc(head, func(t Transform) bool {
		switch t.(type) {
		case RandomCrop, CenterCrop:
			return true
		}
		return false
	})
}

// scratch is what one worker needs.
type scratch struct {
	a, b  Image
	label [8]byte
	dst   [][]byte
	g     *sinter.Generator
}

var scratches = sync.Pool{New: func() any { return &scratch{g: sinter.NewGenerator(0)} }}

// reader reads an example, its picture as it is or, if choose is not nil, in that view.
type reader func(dst [][]byte, choose func(width, height int) data.View) error

// example writes the example with that index.
func (p *pipeline) example(epoch int, index int64, dst [][]byte, read reader) error {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.dst = append(s.dst[:0], dst...)
	mixed := len(p.mixes) > 0
	if mixed {
		s.dst[1] = s.label[:]
	}
	if err := p.picture(s, dst[0], data.ExampleSeed(p.seed, epoch, index), read); err != nil {
		return err
	}
	for f := 1; f < len(dst); f++ { // some may have been shortened
		if f > 1 || !mixed {
			dst[f] = s.dst[f]
		}
	}
	if mixed {
		class := binary.LittleEndian.Uint64(s.label[:])
		if class >= uint64(p.fields[1].Shape[0]) {
			return fmt.Errorf("transforms: example %d is of class %d, expected 0 to %d", index, int64(class), p.fields[1].Shape[0]-1)
		}
		clear(dst[1])
		binary.LittleEndian.PutUint32(dst[1][4*class:], math.Float32bits(1))
	}
	return nil
}

// picture writes the picture of an example to out, and its other fields where s.dst says.
func (p *pipeline) picture(s *scratch, out []byte, seed uint64, read reader) error {
	shape := p.in
	var choose func(w, h int) data.View
	if p.head > 0 {
		shape = p.shapes[p.head-1]
		choose = func(w, h int) data.View { return p.view(w, h, s.g, seed) }
	}
	if p.head > 0 && p.head == len(p.list) {
		s.dst[0] = out
		return read(s.dst, choose)
	}
	s.a.reshape(shape)
	s.dst[0] = asBytes(s.a.Pix)
	if err := read(s.dst, choose); err != nil {
		return err
	}
	from, to := &s.a, &s.b
	for k := p.head; k < len(p.list); k++ {
		to.reshape(p.shapes[k])
		s.g.Reset(place(seed, k))
		p.list[k].Apply(to, from, s.g)
		from, to = to, from
	}
	copy(out, asBytes(from.Pix))
	return nil
}

// place is the seed of the random numbers of a transform's place in the list.
func place(seed uint64, k int) uint64 { return data.ExampleSeed(seed, k, 0) }

// asBytes is the memory of float32 numbers.
func asBytes(v []float32) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*len(v))
}

// mix mixes the examples of a batch, once they are all there.
func (p *pipeline) mix(epoch, index, n int, rows [][]byte) {
	if len(p.mixes) == 0 {
		return
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	x, y := asFloats(rows[0][:n*p.fields[0].Bytes()]), asFloats(rows[1][:n*p.fields[1].Bytes()])
	// One of several is drawn for each batch.
	s.g.Reset(data.ExampleSeed(p.seed^batchSite, epoch, int64(index)))
	m := p.mixes[s.g.IntN(len(p.mixes))]
	m.mix(x, shapeOf(p.fields[0]), y, n, s.g)
}

// batchSite sets the random numbers of batches apart from those of examples.
const batchSite = 0x6261746368

// asFloats is the memory of a batch as float32 numbers. A host buffer is aligned.
func asFloats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), len(b)/4)
}

// head is how many of the first transforms are done while a file is decoded: a
// RandomResizedCrop or Resize, then crops, then flips, and a Normalize if nothing
// follows.
func head(list []Transform) int {
	n := 0
	for n < len(list) {
		switch t := list[n].(type) {
		case RandomResizedCrop, Resize:
			if n > 0 {
				return n
			}
		case RandomCrop:
			if n == 0 || t.Padding > 0 || flipped(list[:n]) {
				return n
			}
		case CenterCrop:
			if n == 0 || flipped(list[:n]) {
				return n
			}
			if r, ok := list[0].(Resize); n == 1 && ok && !fits(t, r) {
				return n // it needs padding
			}
		case RandomHorizontalFlip, RandomVerticalFlip:
			if n == 0 {
				return n
			}
		case Normalize:
			if n == 0 || n != len(list)-1 {
				return n
			}
		default:
			return n
		}
		n++
	}
	return n
}

func flipped(list []Transform) bool {
	return slices.ContainsFunc(list, func(t Transform) bool {
		switch t.(type) {
		case RandomHorizontalFlip, RandomVerticalFlip:
			return true
		}
		return false
	})
}

// fits tells whether every picture that is resized has room for the crop.
func fits(c CenterCrop, r Resize) bool {
	h, w := c.size()
	if r.Size != 0 {
		return h <= r.Size && w <= r.Size
	}
	return h <= r.Height && w <= r.Width
}

// last is the Normalize at the end of a list.
func last(list []Transform) (Normalize, bool) {
	if len(list) == 0 {
		return Normalize{}, false
	}
	n, ok := list[len(list)-1].(Normalize)
	return n, ok
}

// levels is what Normalize makes of the bytes of a file.
func levels(n Normalize, channels int) *data.Levels {
	var l data.Levels
	for c := range channels {
		mean, std := n.of(c)
		for b := range l[c] {
			l[c][b] = (float32(b)/255 - mean) / std
		}
	}
	return &l
}

// view is what the first transforms show of a picture.
func (p *pipeline) view(width, height int, g *sinter.Generator, seed uint64) data.View {
	v := data.View{Levels: p.levels}
	for k, step := range p.list[:p.head] {
		g.Reset(place(seed, k))
		switch step := step.(type) {
		case RandomResizedCrop:
			h, w := step.size()
			v.Crop, v.Size, v.Bicubic = step.draw(height, width, g), image.Pt(w, h), step.Interpolation == Bicubic
			v.Part = image.Rectangle{Max: v.Size}
		case Resize:
			h, w := step.size(height, width)
			v.Crop, v.Size, v.Bicubic = image.Rect(0, 0, width, height), image.Pt(w, h), step.Interpolation == Bicubic
			v.Part = image.Rectangle{Max: v.Size}
		case RandomCrop:
			h, w := step.size()
			at := v.Part.Min.Add(step.draw(v.Part.Dy(), v.Part.Dx(), g))
			v.Part = image.Rectangle{at, at.Add(image.Pt(w, h))}
		case CenterCrop:
			h, w := step.size()
			at := v.Part.Min.Add(step.at(v.Part.Dy(), v.Part.Dx()))
			v.Part = image.Rectangle{at, at.Add(image.Pt(w, h))}
		case RandomHorizontalFlip:
			v.FlipX = v.FlipX != step.draw(g)
		case RandomVerticalFlip:
			v.FlipY = v.FlipY != step.draw(g)
		}
	}
	return v
}
