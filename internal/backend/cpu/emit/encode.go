package emit

import "errors"

func (a *Asm) Bytes() ([]byte, error) { return nil, errors.New("not yet") }
