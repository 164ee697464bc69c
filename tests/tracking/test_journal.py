import pytest

from pipeline.tracking.journal import Journal, journals

BEGIN, ONE, TWO = {"do": "begin", "run": "a"}, {"do": "tags", "values": {"a": "é"}}, {"do": "end", "status": "FINISHED"}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "below" / "a.jsonl"


@pytest.fixture
def journal(file):
    made = Journal(file)
    assert made.hold()
    made.append(BEGIN)
    yield made
    made.release()


def test_records_come_back_in_order_from_where_the_store_has_them(journal, file):
    journal.append(ONE, TWO)
    [(first, place), *rest] = journal.waiting()
    assert first == BEGIN
    assert [record for record, _ in rest] == [ONE, TWO]
    journal.note_sent(place)
    journal.release()
    [again] = journals(file.parent)
    assert [record for record, _ in again.waiting()] == [ONE, TWO]
    assert (again.first(), again.last()) == (BEGIN, TWO)


def test_a_record_that_was_cut_short_is_none(journal, file):
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"do": "met')
    assert [record for record, _ in journal.waiting()] == [BEGIN]
    again = Journal(file)
    again.append(ONE)
    assert [record for record, _ in again.waiting()] == [BEGIN, ONE]
    assert again.last() == ONE


def test_one_holds_it_at_a_time_and_a_journal_that_is_sent_leaves_nothing(journal, file):
    other = Journal(file)
    assert not other.hold()
    journal.remove()
    assert not list(file.parent.iterdir())
    assert list(other.waiting()) == []
    assert other.first() == {}
