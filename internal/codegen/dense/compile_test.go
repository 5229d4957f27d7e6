package dense

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/shape"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// operations are one of every kind, in a type.
func operations(d dtype.DType) []*kernel.Library {
	slot := 0
	operand := func(d dtype.DType, sh ...int) kernel.Operand {
		slot++
		return kernel.Operand{Slot: slot, DType: d, Shape: sh, Stride: shape.Strides(sh)}
	}
	turned := func(o kernel.Operand) kernel.Operand {
		n := len(o.Shape)
		o.Shape[n-2], o.Shape[n-1] = o.Shape[n-1], o.Shape[n-2]
		o.Stride[n-2], o.Stride[n-1] = o.Stride[n-1], o.Stride[n-2]
		return o
	}
	var l []*kernel.Library
	dot := func(a, b kernel.Operand) {
		sh := append(append([]int(nil), a.Shape[:len(a.Shape)-1]...), b.Shape[len(b.Shape)-1])
		l = append(l, &kernel.Library{Op: ir.DotGeneral, In: []kernel.Operand{a, b}, Out: []kernel.Operand{operand(d, sh...)}})
	}
	dot(operand(d, 4096, 256), operand(d, 256, 4096))
	dot(turned(operand(d, 256, 4096)), turned(operand(d, 4096, 256)))
	dot(operand(d, 3, 5, 200, 600), turned(operand(d, 3, 5, 100, 600)))
	dot(operand(d, 1, 4096), operand(d, 4096, 4096))
	dot(operand(d, 5, 4096), turned(operand(d, 4096, 4096)))
	dot(operand(d, 20, 300), operand(d, 300, 30))
	// Distances that need 64 bits.
	dot(operand(d, 1<<17, 1<<14), operand(d, 1<<14, 1<<14))
	dot(operand(d, 3, 1<<16), operand(d, 1<<16, 1<<15))
	if !d.IsFloat() {
		return l
	}
	conv := func(x, w, y []int, stride, low []int, groups int) {
		one := []int{1, 1, 1}[:len(stride)]
		a := ir.ConvAttr{Stride: stride, Low: low, High: low, Dilation: one, Groups: groups}
		for dir, sh := range [][3][]int{{x, w, y}, {y, w, x}, {x, y, w}} {
			a.Dir = ir.Direction(dir)
			l = append(l, &kernel.Library{Op: ir.Conv, Attr: a, In: []kernel.Operand{operand(d, sh[0]...), operand(d, sh[1]...)}, Out: []kernel.Operand{operand(d, sh[2]...)}})
		}
	}
	conv([]int{32, 64, 56, 56}, []int{128, 64, 3, 3}, []int{32, 128, 28, 28}, []int{2, 2}, []int{1, 1}, 1)
	conv([]int{4, 6, 56}, []int{8, 3, 3}, []int{4, 8, 56}, []int{1}, []int{1}, 2)
	conv([]int{1, 4, 6, 6, 6}, []int{8, 4, 3, 3, 3}, []int{1, 8, 6, 6, 6}, []int{1, 1, 1}, []int{1, 1, 1}, 1)
	conv([]int{8, 96, 28, 28}, []int{96, 1, 3, 3}, []int{8, 96, 28, 28}, []int{1, 1}, []int{1, 1}, 96)
	conv([]int{1 << 10, 64, 256, 256}, []int{64, 64, 3, 3}, []int{1 << 10, 64, 256, 256}, []int{1, 1}, []int{1, 1}, 1)
	wide := d.Compute()
	for i, e := range []int{64, 160, 128} {
		n := []int{128, 128, 1 << 22}[i]
		for _, causal := range []bool{true, false} {
			at := ir.Attention{Scale: 0.125, Causal: causal}
			qkv := []kernel.Operand{operand(d, 2, 3, n, e), operand(d, 2, 3, n, e), operand(d, 2, 3, n, e)}
			if !causal {
				qkv = append(qkv, operand(dtype.Bool, 2, 1, 1, n))
			}
			y, lse := operand(d, 2, n, 3, e), operand(wide, 2, 3, n)
			l = append(l, &kernel.Library{Op: ir.Composite, Attr: &ir.Region{Name: "attention", Attr: at}, In: qkv, Out: []kernel.Operand{y, lse}},
				&kernel.Library{Op: ir.Composite, Attr: &ir.Region{Name: "attention_grad", Attr: at}, In: append(append([]kernel.Operand(nil), qkv...), y, lse, operand(d, 2, n, 3, e)), Out: []kernel.Operand{operand(d, 2, n, 9*e)}})
		}
	}
	return l
}

// TestCompile gives the texts, those of large operands too, to compilers.
func TestCompile(t *testing.T) {
	types := []dtype.DType{dtype.Float32, dtype.BFloat16, dtype.Int8}
	if os.Getenv("SINTER_STRESS") != "" {
		types = []dtype.DType{dtype.Float32, dtype.Float64, dtype.Float16, dtype.BFloat16, dtype.Int8, dtype.Uint8, dtype.Int32, dtype.Int64}
	}
	const simulator = `struct Dim { unsigned x, y, z; };
static Dim threadIdx, blockIdx, blockDim, gridDim;
static void __syncthreads() {}
static void __syncwarp(unsigned = ~0u) {}
static unsigned __shfl_sync(unsigned, unsigned v, int) { return v; }
static unsigned __shfl_xor_sync(unsigned, unsigned v, int) { return v; }
static unsigned __shfl_down_sync(unsigned, unsigned v, int) { return v; }
static unsigned __shfl_up_sync(unsigned, unsigned v, int) { return v; }
`
	for _, x := range []struct {
		need, name, before string
		target             codegen.Target
		args               []string
	}{
		{"clang", "clang-16", "", codegen.Target{Dialect: codegen.CUDA, Arch: 70}, []string{"-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=sm_70", "-nocudainc", "-nocudalib", "-std=c++17", "-fsyntax-only", "-Wno-unknown-cuda-version"}},
		{"clang", "clang-16", "", codegen.Target{Dialect: codegen.CUDA, Arch: 80}, []string{"-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=sm_80", "-nocudainc", "-nocudalib", "-std=c++17", "-fsyntax-only", "-Wno-unknown-cuda-version"}},
		{"clang", "clang-16", "", codegen.Target{Dialect: codegen.OpenCL, Warp: 1}, []string{"-x", "cl", "-cl-std=CL1.2", "-Xclang", "-finclude-default-header", "-target", "x86_64-unknown-linux-gnu", "-fsyntax-only"}},
		{"clang", "clang-16", "", codegen.Target{Dialect: codegen.OpenCL, Warp: 1, Serial: true}, []string{"-x", "cl", "-cl-std=CL1.2", "-Xclang", "-finclude-default-header", "-target", "x86_64-unknown-linux-gnu", "-fsyntax-only"}},
		{"g++", "g++", simulator, codegen.Target{Dialect: codegen.Sim, Arch: 80}, []string{"-std=c++17", "-fsyntax-only"}},
	} {
		t.Run(fmt.Sprint(x.target.Dialect, x.target.Arch, x.target.Serial), func(t *testing.T) {
			_, err := exec.LookPath(x.name)
			testenv.Require(t, x.need, err == nil, "there is no "+x.name)
			target := x.target
			target.Units, target.GroupSize, target.Local, target.ParamBytes, target.Float64 = 80, 1024, 48<<10, 4096, true
			if target.Warp == 0 {
				target.Warp = 32
			}
			if target.Serial {
				target.Local = 1 << 20
			}
			var kernels []*codegen.Kernel
			for _, d := range types {
				for _, l := range operations(d) {
					if n := Workspace(l, &target); n > 0 {
						l.Scratch = 99
					}
					launches, _, err := Lower(l, &target)
					if err != nil {
						t.Fatal(err)
					}
					for _, a := range launches {
						kernels = append(kernels, a.Kernel)
					}
				}
			}
			file := filepath.Join(t.TempDir(), "kernels.cc")
			if err := os.WriteFile(file, []byte(x.before+codegen.Module(kernels, &target)), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(x.name, append(x.args, file)...).CombinedOutput(); err != nil {
				t.Errorf("%v\n%.4000s", err, out)
			}
		})
	}
}
