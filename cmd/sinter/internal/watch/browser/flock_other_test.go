//go:build !unix

package browser

import (
	"errors"
	"os"
)

func flock(*os.File) error { return errors.ErrUnsupported }
