// Command blas is the side of oneDNN and of OpenBLAS in bench/compare: it loads one of
// the libraries and times its matrix products, case by case (rig.Case).
//
//	echo '{"op":"gemm","mode":"NN","dims":[512,512,512],"seconds":1}' | ./blas -onednn libdnnl.so.3
//
// Products of float32 are dnnl_sgemm and cblas_sgemm, those of bfloat16 oneDNN's
// matmul primitive (of version 3) on operands in their plain layout. OMP_NUM_THREADS
// and OPENBLAS_NUM_THREADS are the numbers of threads.
//
// It is a module of its own, so that Sinter does not depend on purego, which calls C
// without cgo. A call costs about a microsecond more than from C; the case
// {"op":"call"} measures that.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/sinter-dl/sinter/bench/internal/rig"
)

func main() {
	log.SetFlags(0)
	onednn := flag.String("onednn", "", "oneDNN's library")
	openblas := flag.String("openblas", "", "OpenBLAS's library")
	flag.Parse()
	// The libraries keep a team of helpers for every thread that calls them.
	runtime.LockOSThread()
	var prepare func(rig.Case) (func(), error)
	var err error
	switch {
	case *onednn != "":
		prepare, err = oneDNN(*onednn)
	case *openblas != "":
		prepare, err = openBLAS(*openblas)
	default:
		err = fmt.Errorf("give -onednn or -openblas")
	}
	if err == nil {
		err = rig.ServeCases(os.Stdin, os.Stdout, prepare, nil)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// gemm is a matrix product: sizes, operands as they are stored, and their leading
// dimensions.
type gemm struct {
	m, n, k      int
	turnA, turnB bool
	a, b, c      unsafe.Pointer
	lda, ldb     int
	keep         [][]byte // the memory that the pointers lead to
}

func newGemm(c rig.Case) *gemm {
	g := &gemm{m: c.Dims[0], n: c.Dims[1], k: c.Dims[2], turnA: c.Mode[0] == 'T', turnB: c.Mode[1] == 'T'}
	g.lda, g.ldb = g.k, g.n
	if g.turnA {
		g.lda = g.m
	}
	if g.turnB {
		g.ldb = g.k
	}
	g.a, g.b, g.c = g.memory(c.BF16, g.m*g.k), g.memory(c.BF16, g.k*g.n), g.memory(c.BF16, g.m*g.n)
	return g
}

// memory is n numbers around zero, aligned to 64 bytes.
func (g *gemm) memory(bf16 bool, n int) unsafe.Pointer {
	size := 4
	if bf16 {
		size = 2
	}
	raw := make([]byte, size*n+64)
	g.keep = append(g.keep, raw)
	p := unsafe.Pointer(&raw[-int(uintptr(unsafe.Pointer(&raw[0])))&63])
	for i := range n {
		v := float32(i%13)*0.1 - 0.5
		bits := *(*uint32)(unsafe.Pointer(&v))
		if bf16 {
			*(*uint16)(unsafe.Add(p, 2*i)) = uint16(bits >> 16)
		} else {
			*(*uint32)(unsafe.Add(p, 4*i)) = bits
		}
	}
	return p
}

func openBLAS(path string) (func(rig.Case) (func(), error), error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	var sgemm func(order, ta, tb, m, n, k int32, alpha float32, a unsafe.Pointer, lda int32, b unsafe.Pointer, ldb int32, beta float32, c unsafe.Pointer, ldc int32)
	name := "cblas_sgemm"
	if _, err := purego.Dlsym(lib, name); err != nil {
		name = "scipy_cblas_sgemm" // as the Python package calls it
	}
	purego.RegisterLibFunc(&sgemm, lib, name)
	letter := func(turn bool) int32 {
		if turn {
			return 112 // CblasTrans
		}
		return 111
	}
	return func(c rig.Case) (func(), error) {
		if c.Op == "call" {
			c = rig.Case{Op: "gemm", Mode: "NN", Dims: []int{1, 1, 1}}
		}
		if c.Op != "gemm" || c.BF16 {
			return nil, nil
		}
		g := newGemm(c)
		return func() {
			sgemm(101, letter(g.turnA), letter(g.turnB), int32(g.m), int32(g.n), int32(g.k), // 101: CblasRowMajor
				1, g.a, int32(g.lda), g.b, int32(g.ldb), 0, g.c, int32(g.n))
			runtime.KeepAlive(g)
		}, nil
	}, nil
}

func oneDNN(path string) (func(rig.Case) (func(), error), error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	var sgemm func(ta, tb byte, m, n, k int64, alpha float32, a unsafe.Pointer, lda int64, b unsafe.Pointer, ldb int64, beta float32, c unsafe.Pointer, ldc int64) int32
	purego.RegisterLibFunc(&sgemm, lib, "dnnl_sgemm")
	letter := func(turn bool) byte {
		if turn {
			return 'T'
		}
		return 'N'
	}
	return func(c rig.Case) (func(), error) {
		if c.Op == "call" {
			c = rig.Case{Op: "gemm", Mode: "NN", Dims: []int{1, 1, 1}}
		}
		if c.Op != "gemm" {
			return nil, nil
		}
		g := newGemm(c)
		if c.BF16 {
			return matmul(lib, g)
		}
		return func() {
			status := sgemm(letter(g.turnA), letter(g.turnB), int64(g.m), int64(g.n), int64(g.k),
				1, g.a, int64(g.lda), g.b, int64(g.ldb), 0, g.c, int64(g.n))
			if status != 0 {
				log.Fatalf("dnnl_sgemm: status %d", status)
			}
			runtime.KeepAlive(g)
		}, nil
	}, nil
}

// matmul is the product of bfloat16 matrices by oneDNN's primitive, whose constants
// are those of dnnl_types.h.
func matmul(lib uintptr, g *gemm) (func(), error) {
	const (
		cpu, inOrder  = 1, 1
		bf16          = 2
		src, dst, wei = 1, 17, 33
	)
	var (
		engineCreate    func(engine *uintptr, kind int32, index uint64) int32
		streamCreate    func(stream *uintptr, engine uintptr, flags uint32) int32
		descCreate      func(md *uintptr, ndims int32, dims *int64, dtype int32, strides *int64) int32
		matmulCreate    func(pd *uintptr, engine, src, weights, bias, dst, attr uintptr) int32
		primitiveCreate func(p *uintptr, pd uintptr) int32
		memoryCreate    func(m *uintptr, md, engine uintptr, p unsafe.Pointer) int32
		execute         func(p, stream uintptr, nargs int32, args unsafe.Pointer) int32
		wait            func(stream uintptr) int32
	)
	for name, f := range map[string]any{
		"dnnl_engine_create": &engineCreate, "dnnl_stream_create": &streamCreate,
		"dnnl_memory_desc_create_with_strides": &descCreate, "dnnl_matmul_primitive_desc_create": &matmulCreate,
		"dnnl_primitive_create": &primitiveCreate, "dnnl_memory_create": &memoryCreate,
		"dnnl_primitive_execute": &execute, "dnnl_stream_wait": &wait,
	} {
		if _, err := purego.Dlsym(lib, name); err != nil {
			return nil, nil // version 2 has another interface
		}
		purego.RegisterLibFunc(f, lib, name)
	}
	var failed error
	check := func(what string, status int32) {
		if status != 0 && failed == nil {
			failed = fmt.Errorf("%s: status %d", what, status)
		}
	}
	var engine, stream, pd, primitive uintptr
	check("engine", engineCreate(&engine, cpu, 0))
	check("stream", streamCreate(&stream, engine, inOrder))
	type arg struct {
		index  int32
		memory uintptr
	}
	args := make([]arg, 3)
	desc := make([]uintptr, 3)
	for i, x := range []struct {
		index      int32
		p          unsafe.Pointer
		rows, cols int
		turned     bool
	}{{src, g.a, g.m, g.k, g.turnA}, {wei, g.b, g.k, g.n, g.turnB}, {dst, g.c, g.m, g.n, false}} {
		dims, strides := []int64{int64(x.rows), int64(x.cols)}, []int64{int64(x.cols), 1}
		if x.turned {
			strides = []int64{1, int64(x.rows)}
		}
		check("memory descriptor", descCreate(&desc[i], 2, &dims[0], bf16, &strides[0]))
		args[i].index = x.index
		check("memory", memoryCreate(&args[i].memory, desc[i], engine, x.p))
	}
	check("matmul", matmulCreate(&pd, engine, desc[0], desc[1], 0, desc[2], 0))
	check("primitive", primitiveCreate(&primitive, pd))
	if failed != nil {
		return nil, failed
	}
	return func() {
		check("execute", execute(primitive, stream, 3, unsafe.Pointer(&args[0])))
		check("wait", wait(stream))
		if failed != nil {
			log.Fatal(failed)
		}
		runtime.KeepAlive(g)
	}, nil
}
