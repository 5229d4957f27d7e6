// Package nvrtc binds NVRTC, NVIDIA's compiler of CUDA C++ as a library. It needs neither a
// device nor a driver, but the library of its built-in functions, libnvrtc-builtins, beside
// it or loaded already.
package nvrtc

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dl"
)

// API is the functions of one NVRTC library.
type API struct {
	path string
	f    functions
}

type functions struct {
	GetErrorString       dl.Func `c:"nvrtcGetErrorString"`
	Version              dl.Func `c:"nvrtcVersion"`
	GetNumSupportedArchs dl.Func `c:"nvrtcGetNumSupportedArchs"` // 11.2
	GetSupportedArchs    dl.Func `c:"nvrtcGetSupportedArchs"`
	CreateProgram        dl.Func `c:"nvrtcCreateProgram"`
	DestroyProgram       dl.Func `c:"nvrtcDestroyProgram"`
	CompileProgram       dl.Func `c:"nvrtcCompileProgram"`
	GetPTXSize           dl.Func `c:"nvrtcGetPTXSize"`
	GetPTX               dl.Func `c:"nvrtcGetPTX"`
	GetCUBINSize         dl.Func `c:"nvrtcGetCUBINSize"` // 11.1
	GetCUBIN             dl.Func `c:"nvrtcGetCUBIN"`
	GetProgramLogSize    dl.Func `c:"nvrtcGetProgramLogSize"`
	GetProgramLog        dl.Func `c:"nvrtcGetProgramLog"`
}

// New binds the functions of an open library.
func New(lib dl.Symbols) (*API, error) {
	rtc := &API{path: lib.Path()}
	if err := dl.Bind(lib, &rtc.f); err != nil {
		return nil, fmt.Errorf("nvrtc: %w", err)
	}
	return rtc, nil
}

// Path is the library's file.
func (rtc *API) Path() string { return rtc.path }

// Version is of the compiler, 12 and 9 for CUDA 12.9.
func (rtc *API) Version() (major, minor int, err error) {
	var a, b int32
	s := rtc.f.Version.Call(uintptr(unsafe.Pointer(&a)), uintptr(unsafe.Pointer(&b)))
	return int(a), int(b), rtc.check(s, "nvrtcVersion")
}

// SupportedArchs is the architectures that can be compiled for, in ascending order: 90 for sm_90.
func (rtc *API) SupportedArchs() ([]int, error) {
	var n int32
	if err := rtc.check(rtc.f.GetNumSupportedArchs.Call(uintptr(unsafe.Pointer(&n))), "nvrtcGetNumSupportedArchs"); err != nil || n == 0 {
		return nil, err
	}
	list := make([]int32, n)
	if err := rtc.check(rtc.f.GetSupportedArchs.Call(uintptr(unsafe.Pointer(&list[0]))), "nvrtcGetSupportedArchs"); err != nil {
		return nil, err
	}
	archs := make([]int, n)
	for i, a := range list {
		archs[i] = int(a)
	}
	return archs, nil
}

// Compile compiles a program that includes nothing. With an option
// --gpu-architecture=sm_XY the result is a cubin, with compute_XY it is PTX. The second
// result is what the compiler has said, also without an error; the error is a
// *CompileError if the program is wrong.
func (rtc *API) Compile(source, name string, options []string) (image []byte, log string, err error) {
	var program uintptr
	s := rtc.f.CreateProgram.Call(uintptr(unsafe.Pointer(&program)), uintptr(unsafe.Pointer(dl.CString(source))), uintptr(unsafe.Pointer(dl.CString(name))), 0, 0, 0)
	if err := rtc.check(s, "nvrtcCreateProgram"); err != nil {
		return nil, "", err
	}
	defer func() {
		if e := rtc.check(rtc.f.DestroyProgram.Call(uintptr(unsafe.Pointer(&program))), "nvrtcDestroyProgram"); e != nil {
			err = errors.Join(err, e)
		}
	}()
	list := dl.CStrings(options)
	compiled := Result(rtc.f.CompileProgram.Call(program, dl.Int(len(options)), list.Addr()))
	runtime.KeepAlive(list)
	text, err := rtc.get(rtc.f.GetProgramLogSize, rtc.f.GetProgramLog, program, "nvrtcGetProgramLog")
	if err != nil {
		return nil, "", err
	}
	log = strings.TrimSpace(dl.Text(text))
	if compiled == Compilation {
		return nil, log, &CompileError{Program: name, Options: options, Log: log}
	}
	if err := rtc.check(uintptr(compiled), "nvrtcCompileProgram with "+strings.Join(options, " ")); err != nil {
		return nil, log, err
	}
	size, data, call := rtc.f.GetCUBINSize, rtc.f.GetCUBIN, "nvrtcGetCUBIN"
	for _, o := range options {
		if strings.Contains(o, "=compute_") {
			size, data, call = rtc.f.GetPTXSize, rtc.f.GetPTX, "nvrtcGetPTX"
		}
	}
	image, err = rtc.get(size, data, program, call)
	return image, log, err
}

// get calls one of the pairs of functions that give a size and what is of that size.
func (rtc *API) get(size, data dl.Func, program uintptr, call string) ([]byte, error) {
	var n uintptr
	if err := rtc.check(size.Call(program, uintptr(unsafe.Pointer(&n))), call+"Size"); err != nil || n == 0 {
		return nil, err
	}
	b := make([]byte, n)
	return b, rtc.check(data.Call(program, uintptr(unsafe.Pointer(&b[0]))), call)
}

// Result is nvrtcResult, what functions return.
type Result int32

const (
	Success     Result = 0
	Compilation Result = 6 // the program is wrong
)

var resultNames = [...]string{
	"NVRTC_SUCCESS", "NVRTC_ERROR_OUT_OF_MEMORY", "NVRTC_ERROR_PROGRAM_CREATION_FAILURE", "NVRTC_ERROR_INVALID_INPUT",
	"NVRTC_ERROR_INVALID_PROGRAM", "NVRTC_ERROR_INVALID_OPTION", "NVRTC_ERROR_COMPILATION", "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE",
	"NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION", "NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION",
	"NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID", "NVRTC_ERROR_INTERNAL_ERROR", "NVRTC_ERROR_TIME_FILE_WRITE_FAILED",
}

// String is the status's name in C.
func (r Result) String() string {
	if r >= 0 && int(r) < len(resultNames) {
		return resultNames[r]
	}
	return fmt.Sprintf("nvrtcResult %d", int32(r))
}

// Error is a call that has failed.
type Error struct {
	Result Result
	Doing  string
	Text   string // what the library says about it
}

func (e *Error) Error() string {
	s := fmt.Sprintf("nvrtc: %s: %v (%d)", e.Doing, e.Result, int32(e.Result))
	if e.Text != "" && e.Text != e.Result.String() {
		s += ": " + e.Text
	}
	if e.Result == 7 {
		s += "; libnvrtc-builtins of the same version has to be beside libnvrtc"
	}
	return s
}

// CompileError is a program that the compiler did not take.
type CompileError struct {
	Program string
	Options []string
	Log     string
}

func (e *CompileError) Error() string {
	return fmt.Sprintf("nvrtc: %s does not compile with %s:\n%s", e.Program, strings.Join(e.Options, " "), e.Log)
}

func (rtc *API) check(s uintptr, call string) error {
	r := Result(s)
	if r == Success {
		return nil
	}
	return &Error{Result: r, Doing: call, Text: dl.String(rtc.f.GetErrorString.Call(uintptr(uint32(r))))}
}
