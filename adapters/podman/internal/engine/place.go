package engine

import "time"

// Place is how far a log was read: the time stamp of the last piece, which may
// be as coarse as a second, and how many pieces carry it. Engines end a
// followed log at a time of their own, with or without what the next run of
// the container has written by then.
//
// The stamps are of the device's clock, which may be set back between two of
// them, even by years. Then they do not tell what was read: the log is counted
// through instead.
type Place struct {
	at     time.Time
	pieces int
	// read is when that was, by the clock that never jumps, and wall by the one
	// that does.
	read, wall time.Time
	// disordered is set once a stamp was before the one that came before it.
	disordered bool
	// again is how many pieces at the time at come once more, and skip how many
	// pieces of any time.
	again, skip int
}

// tolerance is how much the two clocks, and the stamps of pieces that came
// together, may differ without a clock having been set.
const tolerance = 100 * time.Millisecond

// note takes in that the log was read up to a time stamp.
func (p *Place) note(at, now time.Time) { p.at, p.read, p.wall = at, now, now.Round(0) }

// setBack reports whether stamps may have come since, or may come, that are not
// after the last one.
func (p *Place) setBack(now time.Time) bool {
	behind := now.Sub(p.read) - now.Round(0).Sub(p.wall)
	return p.disordered || behind > tolerance || p.at.After(now.Round(0).Add(tolerance))
}

// resume says from when on a log is to be read to go on: from a time, or, when
// this is zero, from its beginning, as far as finder has found.
func (p *Place) resume(now time.Time) time.Time {
	p.again, p.skip = 0, 0
	switch {
	case !p.setBack(now):
		p.again = p.pieces
		return p.at
	case p.pieces == 0:
		// Nothing was read: the same instant, as the clock has it now.
		p.note(now.Round(0).Add(p.read.Sub(now)), now)
		return p.at
	default:
		return time.Time{}
	}
}

// finder returns what looks for the place in a log that is read from its
// beginning: found is how many of its pieces were read before, none when those
// are no longer there.
func (p *Place) finder() (pass func(time.Time) bool, found func() int) {
	count, end := 0, 0
	return func(at time.Time) bool {
		if count++; end == 0 && at.Equal(p.at) {
			end = count - 1 + p.pieces
		}
		return true
	}, func() int { return end }
}

// pass takes in the time of a piece and reports whether it was read before.
func (p *Place) pass(at time.Time) bool {
	switch {
	case p.skip > 0:
		p.skip--
		return true
	case p.again > 0 && at.Equal(p.at):
		p.again--
		return true
	case p.again > 0 && at.Before(p.at) && !at.Before(p.at.Truncate(time.Microsecond)):
		// Engines are asked in whole microseconds: what came before within the
		// same one is among what they answer.
		return true
	}
	p.again = 0
	if !at.Equal(p.at) {
		p.disordered = p.disordered || p.pieces > 0 && at.Before(p.at.Add(-tolerance))
		p.pieces = 0
	}
	p.note(at, time.Now())
	p.pieces++
	return false
}
