//go:build !unix

package train

// outside is n bytes of zeros; here they are in Go's heap after all.
func outside(n int) (mem []byte, free func(), err error) {
	return make([]byte, n), func() {}, nil
}
