package export

import "sync"

// said is which messages have been given.
type said struct {
	mu  sync.Mutex
	all map[string]bool
}

// each gives those that have not been; one that comes back later is given again.
func (s *said) each(messages []string, say func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := make(map[string]bool, len(messages))
	for _, m := range messages {
		if now[m] = true; !s.all[m] {
			say(m)
		}
	}
	s.all = now
}
