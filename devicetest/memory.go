package devicetest

import (
	"bytes"
	"testing"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/scalar"
)

// stranger is no device's memory.
type stranger struct{ n int }

func (s *stranger) Bytes() int { return s.n }
func (s *stranger) Free()      {}

// pattern is n bytes that differ from place to place and from seed to seed.
func pattern(n int, seed byte) []byte {
	mem := make([]byte, n)
	for i := range mem {
		mem[i] = byte(i)*7 + byte(i>>8) + seed
	}
	return mem
}

func (s *suite) memory(t *testing.T) {
	if s.Name() == "" {
		t.Error("the device has no name")
	}
	// All at once, so that buffers that share memory show.
	sizes := []int{0, 1, 2, 63, 64, 65, 1000, 4096, 3 << 20}
	var bufs []device.Buffer
	for i, n := range sizes {
		b, err := s.Alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		if b.Bytes() != n {
			t.Errorf("Alloc(%d) gave %d bytes", n, b.Bytes())
		}
		if err := s.Upload(b, pattern(n, byte(i))); err != nil {
			t.Fatal(err)
		}
		bufs = append(bufs, b)
	}
	for i, n := range sizes {
		back := make([]byte, n)
		if err := s.Download(back, bufs[i]); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back, pattern(n, byte(i))) {
			t.Errorf("%d bytes did not come back as they went", n)
		}
		for _, wrong := range []int{n - 1, n + 1} {
			if wrong < 0 {
				continue
			}
			if s.Upload(bufs[i], make([]byte, wrong)) == nil {
				t.Errorf("%d bytes were uploaded to a buffer of %d", wrong, n)
			}
			if s.Download(make([]byte, wrong), bufs[i]) == nil {
				t.Errorf("%d bytes were downloaded from a buffer of %d", wrong, n)
			}
		}
	}
	for _, b := range bufs {
		b.Free()
	}

	for _, n := range []int{-1, 1 << 60} {
		if b, err := s.Alloc(n); err == nil {
			t.Errorf("Alloc(%d) gave a buffer of %d bytes", n, b.Bytes())
		}
	}
	if s.Upload(&stranger{8}, make([]byte, 8)) == nil {
		t.Error("another device's buffer was uploaded to")
	}
	if s.Download(make([]byte, 8), &stranger{8}) == nil {
		t.Error("another device's buffer was downloaded from")
	}
	t.Run("wrap", s.wrap)
}

// Host memory is read where it lies, however it is aligned, by downloads and by
// programs.
func (s *suite) wrap(t *testing.T) {
	const n = 100
	for _, shift := range []int{0, 1, 3, 4} {
		data := pattern(n*4+shift, byte(shift))[shift:]
		b, err := s.Wrap(data)
		if err != nil {
			t.Fatal(err)
		}
		back := make([]byte, len(data))
		if err := s.Download(back, b); err != nil || b.Bytes() != len(data) || !bytes.Equal(back, data) {
			t.Errorf("at odd byte %d: not the bytes that were wrapped: %v", shift, err)
		}

		p := s.program(t)
		x, y := p.leaf(newTensor(dtype.Int32, n)), p.output("−x", dtype.Int32, n)
		k := newKernel("neg", []int{n}, nil)
		k.store(k.apply(ir.Neg, k.load(p.view(x, 0, 1))), p.view(y, 0, 1))
		p.Steps = []kernel.Step{k.f}
		e, err := s.Compile(&p.Program)
		if err != nil {
			t.Fatal(err)
		}
		_, outputs := p.bind()
		if err := e.Run([]device.Buffer{b}, outputs); err != nil {
			t.Fatal(err)
		}
		if err := s.Download(back, outputs[0]); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if got, want := scalar.Get(dtype.Int32, back, i).I, int64(int32(-scalar.Get(dtype.Int32, data, i).I)); got != want {
				t.Errorf("at odd byte %d: element %d negated is %d, want %d", shift, i, got, want)
				break
			}
		}
		e.Close()
		b.Free()
	}
	if b, err := s.Wrap(nil); err != nil || b.Bytes() != 0 {
		t.Errorf("nothing could not be wrapped: %v", err)
	}
}
