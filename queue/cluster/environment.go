package cluster

import (
	"fmt"
	"strconv"
	"strings"
)

// Launch is what a launcher of distributed training, torchrun for one, tells a process by
// environment variables: MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE and LOCAL_RANK.
type Launch struct {
	Address   string // of the process that the others meet at
	Port      int    // 0 if it is not said
	Rank      int    // of this process, below WorldSize
	WorldSize int    // processes in all; 1 if it is not said
	LocalRank int    // of this process on its machine; -1 if it is not said
}

// Environment reads the variables by getenv. A variable that is not set, or empty, is not
// said; one that makes no sense, by itself or beside the others, is an *EnvironmentError.
func Environment(getenv func(name string) string) (Launch, error) {
	l := Launch{Address: strings.TrimSpace(getenv("MASTER_ADDR")), WorldSize: 1, LocalRank: -1}
	number := func(name string, to *int, least, most int) error {
		text := getenv(name)
		if text == "" {
			return nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return &EnvironmentError{name, fmt.Sprintf("found %q, expected a whole number from %d to %d", text, least, most)}
		}
		*to = n
		return nil
	}
	const most = 1<<31 - 1
	if err := number("WORLD_SIZE", &l.WorldSize, 1, most); err != nil {
		return l, err
	}
	for _, v := range []struct {
		name        string
		to          *int
		least, most int
	}{
		{"RANK", &l.Rank, 0, l.WorldSize - 1}, {"LOCAL_RANK", &l.LocalRank, 0, most}, {"MASTER_PORT", &l.Port, 1, 65535},
	} {
		if err := number(v.name, v.to, v.least, v.most); err != nil {
			return l, err
		}
	}
	if strings.ContainsAny(l.Address, " \t\r\n/") {
		return l, &EnvironmentError{"MASTER_ADDR", fmt.Sprintf("found %q, expected the name or address of a machine", l.Address)}
	}
	return l, nil
}

// Alone refuses a process that is one of several: training by several does not exist yet,
// and each of them would train a whole model and take it for a part of one.
func (l Launch) Alone() error {
	if l.WorldSize > 1 {
		return &EnvironmentError{"WORLD_SIZE", fmt.Sprintf("is %d, and training by several processes does not exist yet: each would train a model of its own; start one process", l.WorldSize)}
	}
	return nil
}

// EnvironmentError is a variable that cannot be honoured.
type EnvironmentError struct{ Name, Reason string }

func (e *EnvironmentError) Error() string {
	return "the environment variable " + e.Name + ": " + e.Reason
}
