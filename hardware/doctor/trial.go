package doctor

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/backend/cpu/native"
	"github.com/sinter-dl/sinter/internal/device"
)

// Inventory is what drivers and libraries say that there is.
type Inventory struct {
	Devices   []sinter.DeviceInfo
	Absent    map[string]string                 // why a backend has no device at all
	Libraries map[string][]sinter.DeviceLibrary // by backend
	Threads   int                               // that programs on the processor use
	Code      string                            // why kernels for the processor are not compiled while the program runs; "": they are
}

// usable tells whether a backend has a card that can be used.
func (i Inventory) usable(backends ...string) bool {
	return slices.ContainsFunc(i.Devices, func(d sinter.DeviceInfo) bool {
		return slices.Contains(backends, d.Backend) && d.Kind != device.CPU && d.Problem == ""
	})
}

// ReadInventory asks all drivers, in this process.
func ReadInventory() Inventory {
	i := Inventory{Devices: sinter.Devices(), Absent: make(map[string]string), Libraries: sinter.DeviceLibraries(), Threads: sinter.Threads()}
	for backend, err := range sinter.DeviceProblems() {
		i.Absent[backend] = err.Error()
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		i.Code = notHere
	} else if !native.Available() {
		i.Code = "SINTER_DEBUG has the word nonative"
	} else if block, err := native.Map([]byte{0}); err != nil {
		i.Code = err.Error()
	} else {
		block.Close()
	}
	return i
}

// notHere is Inventory.Code where Sinter makes no machine code on this system at all.
const notHere = "it is done on Linux on amd64 only"

// Trial is how a device has computed.
type Trial struct {
	First   float64 // seconds from opening the device to the result: driver, compiler and kernels
	Again   float64 // seconds of the same program again
	Problem string  // why the device cannot be relied on; "": all was right
}

// Numbers of the trial: the shapes are no multiples of any tile, so that edges are computed as
// well, and the values are small integers, so that every order of sums, and every precision of
// matrix units, gives the same bits.
const (
	trialRows, trialInner, trialColumns = 97, 131, 75
	trialRepeats                        = 5
)

// TryHere computes on a device, in this process, and compares with what the processor gets by
// plain loops: a matrix product, and kernels that were compiled for it. The device that was in
// use is in use again when it returns, but evaluations of other goroutines meanwhile run on the
// device that is tried, and a device that hangs holds them up: this is for a process that does
// nothing else. The error is that the device cannot be used at all.
func TryHere(device string) (Trial, error) {
	before := sinter.DeviceName()
	begin := time.Now()
	if err := sinter.SetDevice(device); err != nil {
		return Trial{}, err
	}
	defer sinter.SetDevice(before) // it was open: that cannot fail
	var t Trial
	for i := range trialRepeats {
		problem, err := compute(i)
		if err != nil {
			return t, err
		}
		if problem != "" {
			t.Problem = problem
			return t, nil
		}
		took := time.Since(begin).Seconds()
		if i == 0 {
			t.First = took
		} else if t.Again == 0 || took < t.Again {
			t.Again = took
		}
		begin = time.Now()
	}
	return t, nil
}

// compute evaluates relu(A·B + c)·2 - 1 and its sum along the rows, with other values in every
// round, and says what is wrong with the result.
func compute(round int) (problem string, err error) {
	value := func(i int) float32 { return float32((i*7+round*3)%9 - 4) }
	fill := func(n, from int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = value(i + from)
		}
		return v
	}
	a, b, c := fill(trialRows*trialInner, 0), fill(trialInner*trialColumns, 5), fill(trialColumns, 2)
	product := sinter.FromFloats(a, trialRows, trialInner).MatMul(sinter.FromFloats(b, trialInner, trialColumns))
	y := product.Add(sinter.FromFloats(c, trialColumns)).Maximum(sinter.Scalar(0)).Mul(sinter.Scalar(2)).Sub(sinter.Scalar(1))
	sums := y.Sum(1)
	if err := sinter.Eval(y, sums); err != nil {
		return "", err
	}
	got, gotSums := make([]float32, trialRows*trialColumns), make([]float32, trialRows)
	if err := y.ReadFloats(got); err != nil {
		return "", err
	}
	if err := sums.ReadFloats(gotSums); err != nil {
		return "", err
	}
	for i := range trialRows {
		var sum float32
		for j := range trialColumns {
			x := c[j]
			for k := range trialInner {
				x += a[i*trialInner+k] * b[k*trialColumns+j]
			}
			x = max(x, 0)*2 - 1
			sum += x
			if g := got[i*trialColumns+j]; g != x {
				return fmt.Sprintf("element (%d, %d) of the product is %v, and %v is right", i, j, g, x), nil
			}
		}
		if gotSums[i] != sum {
			return fmt.Sprintf("sum %d is %v, and %v is right", i, gotSums[i], sum), nil
		}
	}
	return "", nil
}
