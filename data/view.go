package data

import (
	"encoding/binary"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"sync"

	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
	"github.com/sinter-dl/sinter/internal/jpeg"
	"github.com/sinter-dl/sinter/internal/resample"
)

// View is what an example shows of a picture: Crop of it, scaled to Size, of that the
// Part, turned over. Package transforms makes views of what a list of transforms begins
// with, so that of a file no more is decoded than is seen, and one pass over it leads
// from the file to the batch.
type View struct {
	Crop  image.Rectangle // in the picture's pixels; what is around it has no influence
	Size  image.Point     // width and height of the scaled crop
	Part  image.Rectangle // of the scaled crop
	FlipX bool            // left becomes right
	FlipY bool            // above becomes below

	Bicubic bool    // scale by a cubic and not by a triangle; both widen to shrink
	Levels  *Levels // nil: bytes become 0 to 1
}

// Levels are the float32 values that the bytes of each channel are given. Grey pictures
// have the first.
type Levels [3][256]float32

// Pictures is a Dataset whose field 0 are pictures that are decoded when an example is
// read, and that can be seen otherwise than Read shows them.
type Pictures interface {
	Dataset
	// ReadView is Read with the view that choose returns for a picture of that width and
	// height: dst[0] takes float32 [channels, height, width] of its Part.
	ReadView(i int, dst [][]byte, choose func(width, height int) View) error
}

// PictureStream is a Stream whose field 0 may be pictures, as those of Pictures are.
type PictureStream interface {
	Stream
	// HasPictures tells whether it is.
	HasPictures() bool
	// DecodeView is to Decode what Pictures.ReadView is to Read.
	DecodeView(r *Record, dst [][]byte, choose func(width, height int) View) error
}

// whole is the view of all of a picture in the given size.
func whole(height, width int) func(w, h int) View {
	return func(w, h int) View {
		return View{
			Crop: image.Rect(0, 0, w, h), Size: image.Pt(width, height), Part: image.Rect(0, 0, width, height),
			Bicubic: true,
		}
	}
}

// check tells what is wrong with a view of a picture.
func (v *View) check(w, h, channels int, dst []byte) error {
	switch {
	case v.Crop.Empty() || !v.Crop.In(image.Rect(0, 0, w, h)):
		return fmt.Errorf("data: the view's crop %v is not inside the picture of %d×%d", v.Crop, w, h)
	case v.Part.Empty() || !v.Part.In(image.Rectangle{Max: v.Size}):
		return fmt.Errorf("data: the view's part %v is not inside its size of %d×%d", v.Part, v.Size.X, v.Size.Y)
	case int64(v.Size.X)*int64(v.Size.Y) > maxPixels:
		return fmt.Errorf("data: a view of %d×%d, expected at most %d pixels", v.Size.X, v.Size.Y, maxPixels)
	case len(dst) != 4*channels*v.Part.Dx()*v.Part.Dy():
		return fmt.Errorf("data: a view of %d×%d×%d for an example of %d bytes, expected %d", channels, v.Part.Dy(), v.Part.Dx(), len(dst), 4*channels*v.Part.Dx()*v.Part.Dy())
	}
	return nil
}

// viewer is what making a view takes besides the result. It is kept in a pool, so that
// reading pictures makes no garbage but what Go's decoders leave.
type viewer struct {
	file   []byte
	values []byte // of decodeImage
	jpeg   jpeg.Decoder

	main, side scaler
	row        []uint64 // of the result
	sideRow    []uint64
	tables     [3]table
	levels     *Levels // of tables
	ready      bool
}

var viewers = sync.Pool{New: func() any { return new(viewer) }}

// readFile is os.ReadFile into memory that is there already.
func (s *viewer) readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s.file = s.file[:0]
	if st, err := f.Stat(); err == nil && int64(cap(s.file)) <= st.Size() && st.Size() < 1<<26 {
		s.file = make([]byte, 0, st.Size()+st.Size()/4+1)
	}
	for {
		if len(s.file) == cap(s.file) {
			s.file = append(s.file, 0)[:len(s.file)]
		}
		n, err := f.Read(s.file[len(s.file):cap(s.file)])
		s.file = s.file[:len(s.file)+n]
		if err != nil || n == 0 {
			if err == io.EOF {
				err = nil
			}
			return s.file, err
		}
	}
}

// samples are one or two components of a picture that lie in the same grid, for
// scaling.
type samples struct {
	a, b                 []byte // b may be nil
	stride, step         int
	rect                 image.Rectangle // of the samples that a and b begin with, in the grid
	width, height        int             // of the grid
	horizontal, vertical int             // pixels that a sample spans
}

// view writes the part of a picture file that choose wants to see to dst, float32
// [channels, height, width]. name is for messages.
func (s *viewer) view(raw []byte, name string, channels int, dst []byte, choose func(w, h int) View) error {
	if done, err := s.viewJPEG(raw, channels, dst, choose); done {
		return err
	}
	img, err := decodePicture(raw, name)
	if err != nil {
		return err
	}
	size := img.Bounds().Size()
	v := choose(size.X, size.Y)
	if err := v.check(size.X, size.Y, channels, dst); err != nil {
		return err
	}
	grid := samples{step: 1, rect: img.Bounds(), width: size.X, height: size.Y, horizontal: 1, vertical: 1}
	switch img := img.(type) {
	case *image.Gray:
		grid.a, grid.stride = img.Pix, img.Stride
		s.scale(&v, grey, grid, samples{}, channels, dst)
	case *image.YCbCr:
		grid.a, grid.stride = img.Y, img.YStride
		side := samples{a: img.Cb, b: img.Cr, stride: img.CStride, step: 1, horizontal: 1, vertical: 1}
		switch img.SubsampleRatio {
		case image.YCbCrSubsampleRatio422:
			side.horizontal = 2
		case image.YCbCrSubsampleRatio420:
			side.horizontal, side.vertical = 2, 2
		case image.YCbCrSubsampleRatio440:
			side.vertical = 2
		case image.YCbCrSubsampleRatio411:
			side.horizontal = 4
		case image.YCbCrSubsampleRatio410:
			side.horizontal, side.vertical = 4, 2
		}
		side.width, side.height = (size.X+side.horizontal-1)/side.horizontal, (size.Y+side.vertical-1)/side.vertical
		side.rect = image.Rect(0, 0, side.width, side.height)
		s.scale(&v, luma, grid, side, channels, dst)
	case *image.RGBA:
		grid.a, grid.stride, grid.step = img.Pix, img.Stride, 4
		side := grid
		side.a, side.b = img.Pix[1:], img.Pix[2:]
		s.scale(&v, red, grid, side, channels, dst)
	default:
		panic(fmt.Sprintf("data: decodePicture made a %T", img))
	}
	return nil
}

// viewJPEG is view for the files that package jpeg decodes; done is false for others.
func (s *viewer) viewJPEG(raw []byte, channels int, dst []byte, choose func(w, h int) View) (done bool, err error) {
	d := &s.jpeg
	if d.Header(raw) != nil || orientation(raw) != 1 || int64(d.Width)*int64(d.Height) > min(maxPixels, freePixels+pixelsPerByte*int64(len(raw))) {
		return false, nil
	}
	v := choose(d.Width, d.Height)
	if err := v.check(d.Width, d.Height, channels, dst); err != nil {
		return true, err
	}
	d.LumaOnly = channels == 1
	if d.Decode(v.Crop) != nil {
		return false, nil // image/jpeg says what it is
	}
	grid := func(p *jpeg.Plane) samples {
		return samples{a: p.Pix, stride: p.Stride, step: 1, rect: p.Rect, width: p.Width, height: p.Height, horizontal: p.Horizontal, vertical: p.Vertical}
	}
	main, side := grid(&d.Planes[0]), samples{}
	if len(d.Planes) == 1 {
		s.scale(&v, grey, main, side, channels, dst)
		return true, nil
	}
	if channels > 1 {
		side = grid(&d.Planes[1])
		side.b = d.Planes[2].Pix
	}
	s.scale(&v, luma, main, side, channels, dst)
	return true, nil
}

// colours is what the samples of a picture mean.
type colours int

const (
	grey colours = iota // the main samples are all
	luma                // Y, with Cb and Cr at the side
	red                 // R, with G and B at the side
)

// Samples are scaled in integers, two at a time in the halves of a word: neighbours
// of the main component, both of the side. Between the directions a half is the
// sample plus offset in units of 2^−7, at the end in units of 2^−22; the offset keeps
// it positive, since a cubic overshoots at edges.
const (
	weightBits  = 15
	betweenBits = 7
	unitBits    = weightBits + betweenBits
	offset      = 256
	both        = 1 + 1<<32

	// A colour is looked up with tableOffset added, so that everything the
	// conversion can give has a place.
	tableBits   = 11
	tableOffset = 1024
)

// table is the float32 bits that colours become.
type table [1 << tableBits]uint32

// at is the entry for a colour in units of 2^−bits; what is to be added to it, for
// rounding and offsets, has been.
func (t *table) at(v int64, bits uint) uint32 { return t[v>>bits&(1<<tableBits-1)] }

// scale writes the view of the samples to dst.
func (s *viewer) scale(v *View, kind colours, main, side samples, channels int, dst []byte) {
	s.setTables(v.Levels)
	w, h := v.Part.Dx(), v.Part.Dy()
	s.main.set(v, main)
	if channels == 3 && kind != grey || kind == red {
		s.side.set(v, side)
		s.sideRow = grown(s.sideRow, w)
	}
	s.row = grown(s.row, (w+1)/2)
	row := func(c, y int) []byte { return dst[4*w*(c*h+y):][:4*w] }
	for y := range h {
		at := y
		if v.FlipY {
			at = h - 1 - y
		}
		s.main.line(y, s.row)
		if kind == grey || kind == luma && channels == 1 {
			for c := range channels {
				s.write(row(c, at), &s.tables[c])
			}
			continue
		}
		s.side.line(y, s.sideRow)
		switch {
		case channels == 1:
			s.mix(row(0, at))
		case kind == red:
			s.write(row(0, at), &s.tables[0])
			s.writeSide(row(1, at), row(2, at))
		default:
			s.convert(row(0, at), row(1, at), row(2, at))
		}
	}
}

// setTables makes what turns colours into float32, unless it is there.
func (s *viewer) setTables(l *Levels) {
	if s.ready && s.levels == l {
		return
	}
	for c := range s.tables {
		for i := range s.tables[c] {
			b := min(max(i-tableOffset, 0), 255)
			s.tables[c][i] = vec.Unit[b]
			if l != nil {
				s.tables[c][i] = math.Float32bits(l[c][b])
			}
		}
	}
	s.ready, s.levels = true, l
}

// write writes a row of the main component.
func (s *viewer) write(out []byte, t *table) {
	const add = (tableOffset-offset)<<unitBits + 1<<(unitBits-1)
	for _, v := range s.row {
		binary.LittleEndian.PutUint32(out, t.at(int64(uint32(v))+add, unitBits))
		if len(out) < 8 {
			break
		}
		binary.LittleEndian.PutUint32(out[4:], t.at(int64(v>>32)+add, unitBits))
		out = out[8:]
	}
}

// writeSide writes a row of both side components.
func (s *viewer) writeSide(a, b []byte) {
	const add = (tableOffset-offset)<<unitBits + 1<<(unitBits-1)
	for i, v := range s.sideRow {
		binary.LittleEndian.PutUint32(a[4*i:], s.tables[1].at(int64(uint32(v))+add, unitBits))
		binary.LittleEndian.PutUint32(b[4*i:], s.tables[2].at(int64(v>>32)+add, unitBits))
	}
}

// Colours are converted with factors of this many bits.
const factorBits = 16

// mix writes a row of the grey that red, green and blue are (ITU-R BT.601).
func (s *viewer) mix(out []byte) {
	const (
		bits = unitBits + factorBits
		add  = (tableOffset-offset)<<bits + 1<<(bits-1)
	)
	for i, v := range s.sideRow {
		r := s.row[i/2] >> (32 * (i & 1))
		grey := 19595*int64(uint32(r)) + 38470*int64(uint32(v)) + 7471*int64(v>>32)
		binary.LittleEndian.PutUint32(out[4*i:], s.tables[0].at(grey+add, bits))
	}
}

// convert writes a row of YCbCr as RGB (JFIF).
func (s *viewer) convert(r, g, b []byte) {
	const (
		toRed, toBlue = 91881, 116130 // 1.402, 1.772
		cbGreen       = 22554         // 0.344136
		crGreen       = 46802         // 0.714136

		bits = unitBits + factorBits
		add  = (tableOffset-offset)<<bits + 1<<(bits-1)
		zero = (offset + 128) << unitBits // of chroma
	)
	n := 4 * len(s.sideRow)
	r, g, b = r[:n], g[:n], b[:n]
	t := &s.tables
	for i, v := range s.sideRow {
		y := int64(uint32(s.row[i/2]>>(32*(i&1))))<<factorBits + add
		cb, cr := int64(uint32(v))-zero, int64(v>>32)-zero
		at := 4 * i
		binary.LittleEndian.PutUint32(r[at:at+4], t[0].at(y+toRed*cr, bits))
		binary.LittleEndian.PutUint32(g[at:at+4], t[1].at(y-cbGreen*cb-crGreen*cr, bits))
		binary.LittleEndian.PutUint32(b[at:at+4], t[2].at(y+toBlue*cb, bits))
	}
}

// scaler scales the samples of one grid. Rows are scaled sideways when they are first
// needed and kept as long as rows of the result are made of them.
type scaler struct {
	from     samples
	x, y     resample.Axis
	wx, wy   []int64
	lo, hi   int      // of a row of the samples, what is needed
	words    int      // of a row
	ring     []uint64 // y.Taps rows
	next     int      // the first row, in from's grid, that is not in the ring
	unpacked []byte
	pairs    []uint64
}

func (s *scaler) set(v *View, from samples) {
	s.from = from
	f := resample.Bilinear
	if v.Bicubic {
		f = resample.Bicubic
	}
	along := func(a *resample.Axis, min, max, span, rect, end, size, first, last int) {
		lo, hi := min/span, (max+span-1)/span
		hi = clampInt(hi, lo+1, end)
		a.Set(f, float64(min)/float64(span)-float64(rect), float64(max-min)/float64(span), lo-rect, hi-rect, size, first, last)
	}
	along(&s.x, v.Crop.Min.X, v.Crop.Max.X, from.horizontal, from.rect.Min.X, from.width, v.Size.X, v.Part.Min.X, v.Part.Max.X)
	along(&s.y, v.Crop.Min.Y, v.Crop.Max.Y, from.vertical, from.rect.Min.Y, from.height, v.Size.Y, v.Part.Min.Y, v.Part.Max.Y)
	if v.FlipX {
		s.x.Reverse()
	}
	s.wx, s.wy = s.x.Fixed(s.wx, weightBits), s.y.Fixed(s.wy, weightBits)
	s.lo, s.hi = int(min(s.x.First[0], s.x.First[len(s.x.First)-1])), int(max(s.x.First[0], s.x.First[len(s.x.First)-1]))+s.x.Taps
	w := v.Part.Dx()
	s.words = w
	if from.b == nil {
		s.words = (w + 1) / 2
	}
	s.ring = grown(s.ring, s.words*s.y.Taps)
	s.next = int(s.y.First[0])
}

// line makes row y of the result. Rows are asked for from above to below.
func (s *scaler) line(y int, dst []uint64) {
	taps := s.y.Taps
	first := int(s.y.First[y])
	for s.next = max(s.next, first); s.next < first+taps; s.next++ {
		s.sideways(s.next, s.ring[s.next%taps*s.words:][:s.words])
	}
	dst = dst[:s.words]
	weights := s.wy[y*taps : (y+1)*taps]
	row := func(t int) []uint64 { return s.ring[(first+t)%taps*s.words:][:len(dst)] }
	// Three rows at a time: the sums stay in registers.
	t := 0
	switch {
	case taps >= 3:
		a, b, c := row(0), row(1), row(2)
		p, q, r := uint64(weights[0]), uint64(weights[1]), uint64(weights[2])
		for i := range dst {
			dst[i] = a[i]*p + b[i]*q + c[i]*r
		}
		t = 3
	case taps == 2:
		a, b := row(0), row(1)
		p, q := uint64(weights[0]), uint64(weights[1])
		for i := range dst {
			dst[i] = a[i]*p + b[i]*q
		}
		t = 2
	default:
		a, p := row(0), uint64(weights[0])
		for i := range dst {
			dst[i] = a[i] * p
		}
		t = 1
	}
	for ; t < taps; t++ {
		if weights[t] == 0 {
			continue
		}
		a, p := row(t), uint64(weights[t])
		for i := range dst {
			dst[i] += a[i] * p
		}
	}
}

// sideways scales row y of the samples.
func (s *scaler) sideways(y int, dst []uint64) {
	from := &s.from
	a := from.a[y*from.stride:]
	if from.b == nil {
		if from.step != 1 {
			s.unpacked = grown(s.unpacked, s.hi)
			for i := s.lo; i < s.hi; i++ {
				s.unpacked[i] = a[i*from.step]
			}
			a = s.unpacked
		}
		s.neighbours(a[:s.hi], dst)
		return
	}
	b := from.b[y*from.stride:]
	s.pairs = grown(s.pairs, s.hi)
	pairs := s.pairs[s.lo:]
	if from.step == 1 {
		a, b = a[s.lo:][:len(pairs)], b[s.lo:][:len(pairs)]
		for i := range pairs {
			pairs[i] = uint64(a[i]) | uint64(b[i])<<32
		}
	} else {
		for i := range pairs {
			at := (s.lo + i) * from.step
			pairs[i] = uint64(a[at]) | uint64(b[at])<<32
		}
	}
	s.together(s.pairs, dst)
}

// Sums begin with this, and lose so many bits in the end.
const (
	drop  = weightBits - betweenBits
	begin = offset<<weightBits + 1<<(drop-1)
)

// together makes each word of dst of words of src. The numbers of taps that shrinking
// by up to about two takes have loops of their own.
func (s *scaler) together(src []uint64, dst []uint64) {
	const (
		begin = begin * both
		mask  = (1<<(32-drop) - 1) * both
	)
	first, w := s.x.First[:len(dst)], s.wx
	switch taps := s.x.Taps; taps {
	case 2:
		for i := range dst {
			p, c := (*[2]uint64)(src[first[i]:]), (*[2]int64)(w[2*i:])
			dst[i] = (begin + p[0]*uint64(c[0]) + p[1]*uint64(c[1])) >> drop & mask
		}
	case 3:
		for i := range dst {
			p, c := (*[3]uint64)(src[first[i]:]), (*[3]int64)(w[3*i:])
			dst[i] = (begin + p[0]*uint64(c[0]) + p[1]*uint64(c[1]) + p[2]*uint64(c[2])) >> drop & mask
		}
	default:
		for i := range dst {
			w := w[i*taps:][:taps]
			p := src[first[i]:][:len(w)]
			sum := uint64(begin)
			for t, c := range w {
				sum += p[t] * uint64(c)
			}
			dst[i] = sum >> drop & mask
		}
	}
}

// neighbours makes each half of the words of dst of bytes of src.
func (s *scaler) neighbours(src []byte, dst []uint64) {
	first, w := s.x.First, s.wx
	put := func(i int, sum int64) {
		v := uint64(sum) >> drop
		if i&1 == 0 {
			dst[i/2] = v
		} else {
			dst[i/2] |= v << 32
		}
	}
	switch taps := s.x.Taps; taps {
	case 2:
		for i, f := range first {
			p, c := (*[2]byte)(src[f:]), (*[2]int64)(w[2*i:])
			put(i, begin+int64(p[0])*c[0]+int64(p[1])*c[1])
		}
	case 3:
		for i, f := range first {
			p, c := (*[3]byte)(src[f:]), (*[3]int64)(w[3*i:])
			put(i, begin+int64(p[0])*c[0]+int64(p[1])*c[1]+int64(p[2])*c[2])
		}
	case 4:
		for i, f := range first {
			p, c := (*[4]byte)(src[f:]), (*[4]int64)(w[4*i:])
			put(i, begin+int64(p[0])*c[0]+int64(p[1])*c[1]+int64(p[2])*c[2]+int64(p[3])*c[3])
		}
	case 5:
		for i, f := range first {
			p, c := (*[5]byte)(src[f:]), (*[5]int64)(w[5*i:])
			put(i, begin+int64(p[0])*c[0]+int64(p[1])*c[1]+int64(p[2])*c[2]+int64(p[3])*c[3]+int64(p[4])*c[4])
		}
	default:
		for i, f := range first {
			w := w[i*taps:][:taps]
			p := src[f:][:len(w)]
			sum := int64(begin)
			for t, c := range w {
				sum += int64(p[t]) * c
			}
			put(i, sum)
		}
	}
}

// grown is a slice of n elements of whatever content, s itself if it is large enough.
func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

func clampInt(v, lo, hi int) int { return max(lo, min(v, hi)) }
