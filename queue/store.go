package queue

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/sinter-dl/sinter/internal/process"
)

// Store is a database of jobs. It is open only while View or Update run, so that
// commands and a daemon take turns. The first of them makes it.
type Store struct {
	Path    string
	Timeout time.Duration // to wait for others to close it; 10 s unless set
	now     func() time.Time
}

// Open names the database; nothing is done to it yet.
func Open(path string) *Store { return &Store{Path: path, Timeout: 10 * time.Second, now: time.Now} }

// DefaultPath is the database of this user: queue.db in sinter, in $XDG_STATE_HOME or
// what the system has in its place.
func DefaultPath() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sinter", "queue.db"), nil
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		dir, err := os.UserConfigDir() // AppData, Library/Application Support
		if err != nil {
			return "", fmt.Errorf("there is no folder for the queue's database: %w; name one with --db", err)
		}
		return filepath.Join(dir, "sinter", "queue.db"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("there is no folder for the queue's database: %w; name one with --db", err)
	}
	return filepath.Join(home, ".local", "state", "sinter", "queue.db"), nil
}

// Folder is where the files of a job are: its recipe and its output.
func (s *Store) Folder(id int) string { return filepath.Join(s.Path+".d", fmt.Sprint(id)) }

// LogFile is what the processes of a job have written.
func (s *Store) LogFile(id int) string { return filepath.Join(s.Folder(id), "output.log") }

// Notice is something that whoever looks at the queue has to be told.
type Notice struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// Holder is the daemon that carries out a database's jobs. It renews its word from time to
// time.
type Holder struct {
	PID     int           `json:"pid"`
	Process process.ID    `json:"process"`
	Since   time.Time     `json:"since"`
	Seen    time.Time     `json:"seen"`
	Lease   time.Duration `json:"lease_ns"` // for which it is believed to live if that cannot be seen
}

// Lives tells whether the daemon is there: where its process can be seen, by that; else,
// as on another machine or in another container, by when it last gave its word.
func (h *Holder) Lives(now time.Time) bool {
	if h == nil || h.PID == 0 {
		return false
	}
	switch process.Look(h.PID, h.Process) {
	case process.Gone:
		return false
	case process.Hidden:
		return now.Sub(h.Seen) < h.Lease
	}
	return true
}

func (h *Holder) same(o Holder) bool {
	return h.PID == o.PID && h.Process == o.Process && h.Since.Equal(o.Since)
}

// HeldError is a database that another daemon has.
type HeldError struct {
	Path   string
	Holder Holder
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%s is carried out by another daemon: process %d on %s, since %s; end that one first, or name another database with --db",
		e.Path, e.Holder.PID, e.Holder.Process.Host, e.Holder.Since.Local().Format("2006-01-02 15:04:05"))
}

// JobError is a job that is not there, or not in a state for what is asked of it.
type JobError struct {
	ID     int
	Reason string
}

func (e *JobError) Error() string { return fmt.Sprintf("job %d %s", e.ID, e.Reason) }

// The database: buckets and keys. A value begins with its checksum.
var (
	bucketJobs = []byte("jobs") // ID, big-endian → Job
	bucketMeta = []byte("meta")
	keyFormat  = []byte("format")
	keyHolder  = []byte("daemon")
	keyNotices = []byte("notices")
	keyDevices = []byte("devices") // of the machine, as the daemon found them last
)

// storeFormat is the version of what is in the buckets.
const storeFormat = 1

// errDamaged is what a database gives that is not whole.
var errDamaged = errors.New("damaged")

// Tx is the database while it is open.
type Tx struct {
	tx    *bbolt.Tx
	store *Store
}

// View looks at the database.
func (s *Store) View(f func(*Tx) error) error { return s.open(f, false) }

// Update changes the database: all that f does, or nothing if it fails.
func (s *Store) Update(f func(*Tx) error) error { return s.open(f, true) }

func (s *Store) open(f func(*Tx) error, write bool) error {
	for attempt := 0; ; attempt++ {
		db, err := s.connect(s.Path)
		if errors.Is(err, fs.ErrNotExist) {
			_, err = s.create()
			if err == nil && attempt < 10 {
				continue
			}
		}
		if errors.Is(err, errDamaged) && attempt < 3 {
			if err = s.replace(); err == nil {
				continue
			}
		}
		if err != nil {
			return s.explain(err)
		}
		run := func(tx *bbolt.Tx) error { return f(&Tx{tx, s}) }
		if write {
			err = db.Update(run)
		} else {
			err = db.View(run)
		}
		return errors.Join(err, db.Close())
	}
}

func (s *Store) explain(err error) error {
	if errors.Is(err, bbolt.ErrTimeout) {
		return fmt.Errorf("the queue's database %s has been in use by another process for %v", s.Path, s.Timeout)
	}
	return fmt.Errorf("the queue's database: %w", err)
}

// connect opens a database that is there and takes its lock. That it is whole is checked
// before anything of it is believed: bbolt maps the file into memory, where what is
// damaged can end the process.
func (s *Store) connect(path string) (db *bbolt.DB, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	var file *os.File
	options := &bbolt.Options{Timeout: s.Timeout, OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
		file = f
		return f, err
	}}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		broken := recover()
		if broken == nil {
			return
		}
		if db != nil {
			db.Close()
		} else if file != nil { // bbolt's map of it stays, and would keep the lock
			unlock(file)
			file.Close()
		}
		db, err = nil, fmt.Errorf("%w: %v", errDamaged, broken)
	}()
	// bbolt makes a database of a file without content; here such a file is one that has
	// lost it.
	if info, err := os.Stat(path); err == nil && info.Size() == 0 {
		return nil, fmt.Errorf("%w: it is empty", errDamaged)
	}
	db, err = bbolt.Open(path, 0o600, options)
	switch {
	case err == nil:
	case errors.Is(err, bbolt.ErrTimeout), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, err
	case errors.As(err, new(*fs.PathError)):
		return nil, err
	default:
		return nil, fmt.Errorf("%w: %v", errDamaged, err)
	}
	// Whoever had the lock before may have put the file aside.
	here, err := file.Stat()
	if there, statErr := os.Stat(path); err == nil && (statErr != nil || !os.SameFile(here, there)) {
		db.Close()
		return s.connect(path)
	}
	var text []byte
	if err == nil {
		text = make([]byte, here.Size())
		_, err = io.ReadFull(io.NewSectionReader(file, 0, here.Size()), text)
	}
	if err == nil {
		err = checkFile(text)
	}
	if err == nil {
		err = db.View(func(tx *bbolt.Tx) error {
			t := &Tx{tx, s}
			var format int
			if err := t.get(bucketMeta, keyFormat, &format); err != nil {
				return err
			}
			if format > storeFormat {
				return fmt.Errorf("%s has format %d; this version of Sinter reads up to %d", path, format, storeFormat)
			}
			_, err := t.Jobs()
			return err
		})
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// create makes an empty database under another name and then gives it its own, so that
// nobody ever sees half of one. It is not made if another process has been faster.
func (s *Store) create(notices ...Notice) (made bool, err error) {
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o700); err != nil {
		return false, err
	}
	temp, err := os.CreateTemp(filepath.Dir(s.Path), ".queue-*.tmp")
	if err != nil {
		return false, err
	}
	temp.Close()
	defer os.Remove(temp.Name())
	db, err := bbolt.Open(temp.Name(), 0o600, &bbolt.Options{Timeout: s.Timeout})
	if err != nil {
		return false, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketJobs, bucketMeta} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		t := &Tx{tx, s}
		return errors.Join(t.put(bucketMeta, keyFormat, storeFormat), t.put(bucketMeta, keyNotices, notices))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return false, err
	}
	err = os.Link(temp.Name(), s.Path)
	if err != nil && !errors.Is(err, fs.ErrExist) { // a file system without links
		if _, there := os.Lstat(s.Path); errors.Is(there, fs.ErrNotExist) {
			err = os.Rename(temp.Name(), s.Path)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// replace puts a damaged database aside and begins a new one, which says so. Several
// processes may find the damage at the same time; the lock of a small database beside it
// lets one of them judge at a time.
func (s *Store) replace() error {
	guard := s.Path + ".repair"
	lock, err := bbolt.Open(guard, 0o600, &bbolt.Options{Timeout: s.Timeout})
	if err != nil {
		return fmt.Errorf("%s is damaged, and %s, which is made for repairing it, cannot be used: %w; remove the latter", s.Path, guard, err)
	}
	defer lock.Close() // the file stays: who waits for it has to find the same one
	db, damage := s.connect(s.Path)
	switch {
	case damage == nil:
		return db.Close()
	case errors.Is(damage, fs.ErrNotExist):
		return nil
	case !errors.Is(damage, errDamaged):
		return damage
	}
	now := s.now()
	aside := ""
	for n := 1; ; n++ {
		aside = fmt.Sprintf("%s.damaged-%s", s.Path, now.Format("20060102-150405"))
		if n > 1 {
			aside += fmt.Sprintf("-%d", n)
		}
		if _, there := os.Lstat(aside); errors.Is(there, fs.ErrNotExist) {
			break
		}
	}
	if err := os.Rename(s.Path, aside); err != nil {
		return fmt.Errorf("%s is %w and cannot be put aside: %v", s.Path, damage, err)
	}
	notice := Notice{now, fmt.Sprintf("the database was %v; it is kept as %s, this one is new: jobs have to be added again", damage, aside)}
	made, err := s.create(notice)
	if err != nil || made {
		return err
	}
	return s.Update(func(t *Tx) error { // a process that found none has begun one
		all, err := t.Notices()
		return errors.Join(err, t.put(bucketMeta, keyNotices, append(all, notice)))
	})
}

var crcTable = crc32.MakeTable(crc32.Castagnoli)

func (t *Tx) put(bucket, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	value := binary.BigEndian.AppendUint32(nil, crc32.Checksum(append(slices.Clone(key), text...), crcTable))
	return t.tx.Bucket(bucket).Put(key, append(value, text...))
}

// get reads a value; what is absent leaves v as it is.
func (t *Tx) get(bucket, key []byte, v any) error {
	b := t.tx.Bucket(bucket)
	if b == nil {
		return fmt.Errorf("%w: it has no part %q", errDamaged, bucket)
	}
	value := b.Get(key)
	if value == nil {
		return nil
	}
	return decode(key, value, v)
}

func decode(key, value []byte, v any) error {
	if len(value) < 4 || binary.BigEndian.Uint32(value) != crc32.Checksum(append(slices.Clone(key), value[4:]...), crcTable) {
		return fmt.Errorf("%w: the checksum of an entry is wrong", errDamaged)
	}
	if err := json.Unmarshal(value[4:], v); err != nil {
		return fmt.Errorf("%w: %v", errDamaged, err)
	}
	return nil
}

func jobKey(id int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

// Jobs are all jobs, in the order of their IDs.
func (t *Tx) Jobs() ([]Job, error) {
	b := t.tx.Bucket(bucketJobs)
	if b == nil {
		return nil, fmt.Errorf("%w: it has no part %q", errDamaged, bucketJobs)
	}
	var all []Job
	err := b.ForEach(func(key, value []byte) error {
		var j Job
		if err := decode(key, value, &j); err != nil {
			return err
		}
		all = append(all, j)
		return nil
	})
	return all, err
}

// Job is one job. The error is a *JobError if there is none.
func (t *Tx) Job(id int) (Job, error) {
	var j Job
	if err := t.get(bucketJobs, jobKey(id), &j); err != nil {
		return j, err
	}
	if j.ID == 0 {
		return j, &JobError{id, "is not in the queue; 'sinter queue ls' lists the jobs"}
	}
	return j, nil
}

// Put writes a job that has an ID.
func (t *Tx) Put(j Job) error {
	b := t.tx.Bucket(bucketJobs)
	if uint64(j.ID) > b.Sequence() { // it comes from a database that is lost
		if err := b.SetSequence(uint64(j.ID)); err != nil {
			return err
		}
	}
	return t.put(bucketJobs, jobKey(j.ID), j)
}

// Add queues a job and gives it its ID.
func (t *Tx) Add(j *Job) error {
	id, err := t.tx.Bucket(bucketJobs).NextSequence()
	if err != nil {
		return err
	}
	now := t.store.now()
	j.ID, j.Added = int(id), now
	j.become(Queued, now, "")
	return t.Put(*j)
}

// Remove takes a job out of the database.
func (t *Tx) Remove(id int) error { return t.tx.Bucket(bucketJobs).Delete(jobKey(id)) }

// Notices are what has to be told.
func (t *Tx) Notices() (n []Notice, err error) {
	err = t.get(bucketMeta, keyNotices, &n)
	return n, err
}

// Holder is the daemon that has the database, or had it last; nil if none ever did.
func (t *Tx) Holder() (h *Holder, err error) {
	err = t.get(bucketMeta, keyHolder, &h)
	return h, err
}

// Devices are those of the machine, as a daemon found them last.
func (t *Tx) Devices() (d []Device, err error) {
	err = t.get(bucketMeta, keyDevices, &d)
	return d, err
}

// PutDevices keeps what devices the machine has.
func (t *Tx) PutDevices(d []Device) error { return t.put(bucketMeta, keyDevices, d) }

// Claim makes a daemon the holder, or renews its word. The error is a *HeldError while
// another one lives.
func (t *Tx) Claim(h Holder) error {
	last, err := t.Holder()
	if err != nil {
		return err
	}
	if last != nil && !last.same(h) && last.Lives(h.Seen) {
		return &HeldError{t.store.Path, *last}
	}
	return t.put(bucketMeta, keyHolder, h)
}

// Release ends a daemon's hold.
func (t *Tx) Release(h Holder) error {
	last, err := t.Holder()
	if err != nil || last == nil || !last.same(h) {
		return err
	}
	return t.put(bucketMeta, keyHolder, Holder{})
}
