package cuda

import (
	"sync"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/find"
)

// locator is where libraries come from.
type locator interface {
	driver() (dl.Symbols, error)
	// suit tells what the libraries have to suit: a driver's version, and the least compute
	// capability of the devices. It is called before library.
	suit(driver, arch int)
	library(n find.Name) (dl.Symbols, error)
	libraries() []device.Library
}

// system is the libraries of this machine, as package find finds them.
type system struct {
	mu   sync.Mutex
	want find.Want
	libs *find.Libraries
}

func (s *system) driver() (dl.Symbols, error) { return s.library(find.CUDA) }

func (s *system) suit(driver, arch int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.want, s.libs = find.Want{Driver: driver, Capability: arch}, nil
}

func (s *system) search() *find.Libraries {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.libs == nil {
		s.libs = find.Search(s.want)
	}
	return s.libs
}

func (s *system) library(n find.Name) (dl.Symbols, error) {
	lib, err := s.search().Open(n)
	if err != nil { // not a nil *Library in an interface
		return nil, err
	}
	return lib, nil
}

func (s *system) libraries() []device.Library {
	var list []device.Library
	for _, l := range s.search().All() {
		switch l.Name {
		case find.OpenCL, find.CLBlast:
			continue
		}
		list = append(list, device.Library{Name: l.Title, Path: l.Path, Version: l.Version, Brings: l.Brings, Problem: l.Problem, Remedy: l.Get})
	}
	return list
}
