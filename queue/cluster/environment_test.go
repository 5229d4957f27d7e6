package cluster

import (
	"errors"
	"testing"
)

func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		set   map[string]string
		want  Launch
		wrong string // the variable
	}{
		{set: nil, want: Launch{WorldSize: 1, LocalRank: -1}},
		{set: map[string]string{"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "3", "MASTER_ADDR": "node-1", "MASTER_PORT": "29500"},
			want: Launch{Address: "node-1", Port: 29500, WorldSize: 1, LocalRank: 3}},
		{set: map[string]string{"WORLD_SIZE": "4", "RANK": "3"}, want: Launch{Rank: 3, WorldSize: 4, LocalRank: -1}},
		{set: map[string]string{"WORLD_SIZE": ""}, want: Launch{WorldSize: 1, LocalRank: -1}},
		{set: map[string]string{"WORLD_SIZE": "0"}, wrong: "WORLD_SIZE"},
		{set: map[string]string{"WORLD_SIZE": "two"}, wrong: "WORLD_SIZE"},
		{set: map[string]string{"WORLD_SIZE": "2", "RANK": "2"}, wrong: "RANK"},
		{set: map[string]string{"RANK": "1"}, wrong: "RANK"},
		{set: map[string]string{"LOCAL_RANK": "-1"}, wrong: "LOCAL_RANK"},
		{set: map[string]string{"MASTER_PORT": "70000"}, wrong: "MASTER_PORT"},
		{set: map[string]string{"MASTER_ADDR": "http://a"}, wrong: "MASTER_ADDR"},
	} {
		got, err := Environment(func(name string) string { return c.set[name] })
		var wrong *EnvironmentError
		switch {
		case c.wrong == "" && (err != nil || got != c.want):
			t.Errorf("%v: %+v, %v, expected %+v", c.set, got, err, c.want)
		case c.wrong != "" && (!errors.As(err, &wrong) || wrong.Name != c.wrong):
			t.Errorf("%v: error %v, expected one about %s", c.set, err, c.wrong)
		}
	}
	if err := (Launch{WorldSize: 1}).Alone(); err != nil {
		t.Error(err)
	}
	var wrong *EnvironmentError
	if err := (Launch{WorldSize: 2}).Alone(); !errors.As(err, &wrong) || wrong.Name != "WORLD_SIZE" {
		t.Errorf("one process of two: %v", err)
	}
}
