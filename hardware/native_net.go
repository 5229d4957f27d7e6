//go:build !linux

package hardware

import "net"

// nativeNetwork is what Go knows of the interfaces: their names, and whether they are up.
func nativeNetwork() ([]Link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, &UnknownValueError{What: "the network", Why: err.Error()}
	}
	var list []Link
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 {
			continue
		}
		l := Link{Name: i.Name, Kind: "unknown", State: "down", Up: i.Flags&net.FlagUp != 0}
		if l.Up {
			l.State = "up"
		}
		list = append(list, l)
	}
	return list, nil
}
