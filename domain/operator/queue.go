package operator

// queue is a first-in, first-out list of devices.
type queue struct {
	items []*device
	head  int
}

func (q *queue) len() int { return len(q.items) - q.head }

func (q *queue) push(d *device) { q.items = append(q.items, d) }

func (q *queue) pop() *device {
	d := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	if q.head == len(q.items) {
		// Nothing is kept of the space that a whole fleet needed.
		q.items, q.head = nil, 0
	}
	return d
}
