package recipe

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
)

// Blank is the data.path of images of noise: of data.size and data.colour, data.examples of
// them. There is nothing to learn from them. They are for plans of data that is not
// here, and for measuring how fast a model trains.
const Blank = "blank"

const kindBlank data.Kind = "blank"

// blank is a dataset of noise in which classes take turns.
type blank struct {
	fields  []data.Field
	n       int
	classes int
	noise   []byte
}

func (b *blank) Len() int             { return b.n }
func (b *blank) Fields() []data.Field { return b.fields }

func (b *blank) Read(i int, dst [][]byte) error {
	from := i * 52 % len(b.noise) // of whole numbers
	for x := dst[0]; len(x) > 0; from = 0 {
		x = x[copy(x, b.noise[from:]):]
	}
	binary.LittleEndian.PutUint64(dst[1], uint64(i%b.classes))
	return nil
}

// blankClasses is how many classes there are, as many as ImageNet has.
const blankClasses = 1000

func (r *Recipe) blank() *data.Source {
	o := r.imageOptions()
	if _, ok := r.given["data.size"]; !ok && r.Data.Size == 0 {
		o.Height, o.Width = 224, 224
	}
	n := r.Data.Examples
	setDefault(&n, 10000)
	noise := make([]byte, 4*4093)
	for i := 0; i < len(noise); i += 4 {
		binary.LittleEndian.PutUint32(noise[i:], math.Float32bits(float32(i*7919%4093)/4093-0.5))
	}
	part := func(n int) *blank {
		return &blank{n: n, classes: blankClasses, noise: noise, fields: []data.Field{
			{Name: "x", DType: sinter.Float32, Shape: []int{o.Channels, o.Height, o.Width}},
			{Name: "y", DType: sinter.Int64},
		}}
	}
	src := &data.Source{
		Train: part(n), Test: part(max(1, n/25)), Task: data.Classification,
		Digest: fmt.Sprintf("%064x", n),
		Notes:  []string{"the images are noise, from which nothing can be learned: they are for plans and for measuring speed"},
	}
	for i := range blankClasses {
		src.Classes = append(src.Classes, fmt.Sprintf("class %d", i))
	}
	return src
}
