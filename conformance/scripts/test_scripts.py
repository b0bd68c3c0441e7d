"""The scripts behind ./test see what they are there to see: failures, broken suites, rows without proof."""

import cargo_results
import check_compatibility
import matrix
import outcomes
import totals

CARGO_OUTPUT = """
     Running unittests src/lib.rs (target/debug/deps/protocol-0123456789abcdef)
test arn::tests::an_arn_is_read ... ok
test arn::tests::broken ... FAILED
test slow ... ignored, takes a day
test must_panic - should panic ... ok
   Doc-tests protocol
test crates/protocol/src/arn.rs - arn (line 3) ... ok
test result: ok. 4 passed; 1 failed
"""


def record(test, outcome="passed", suite="pytest", client="boto3", covers=()):
    return {"suite": suite, "test": test, "outcome": outcome, "client": client, "covers": list(covers)}


def test_the_output_of_cargo_test_is_read():
    found = [(line["test"], line["outcome"]) for line in cargo_results.records(CARGO_OUTPUT.splitlines())]
    assert found == [
        ("protocol::arn::tests::an_arn_is_read", "passed"),
        ("protocol::arn::tests::broken", "failed"),
        ("protocol::slow", "skipped"),
        ("protocol::must_panic", "passed"),
        ("protocol (documentation)::crates/protocol/src/arn.rs - arn (line 3)", "passed"),
    ]


def test_a_test_passed_only_if_each_of_its_records_did():
    records = [record("a"), record("a", "failed"), record("a"), record("b", "failed"), record("b"), record("c")]
    assert outcomes.by_test(records) == {"a": "failed", "b": "failed", "c": "passed"}


def page(*rows):
    return "\n".join(["| what | test |", "| --- | --- |", *rows])


def every_row(test="t"):
    names = (*outcomes.OPERATIONS, *outcomes.ACTIONS, *(frame.removeprefix("frame:") for frame in outcomes.FRAMES))
    return [f"| `{name}` | `{test}` |" for name in names]


def test_a_page_whose_tests_passed_is_true():
    assert list(check_compatibility.faults(page(*every_row()), {"t": "passed"})) == []
    assert list(check_compatibility.faults(page(*every_row()), {"t[a]": "passed", "t[b]": "passed"})) == []


def test_a_page_is_not_true_when_a_test_did_not_run_or_pass_or_a_row_is_missing():
    faults = check_compatibility.faults
    assert len(list(faults(page(*every_row()), {}))) == 23
    assert len(list(faults(page(*every_row()), {"t": "skipped"}))) == 23
    assert len(list(faults(page(*every_row()), {"t[a]": "passed", "t[b]": "failed"}))) == 23
    assert list(faults(page(*every_row()[1:]), {"t": "passed"})) == ["CreateRoom has no row"]
    assert list(faults(page(*every_row(), "| a difference | |"), {"t": "passed"})) == ["no test is named for: a difference"]


def test_the_matrix_counts_by_client():
    records = [record("a", covers=["GetRoom"]), record("b", "failed", covers=["GetRoom"]), record("c", client="x")]
    assert dict(matrix.cells(records)) == {("GetRoom", "boto3"): [1, 1]}


def every_cell():
    return [
        record(f"{client} {name}", client=client, covers=[name])
        for client, names in matrix.REQUIRED.items()
        for name in names
    ]


def test_every_client_must_prove_what_is_required_of_it():
    records = every_cell()
    assert list(matrix.empty_cells(records)) == []
    assert list(matrix.empty_cells([*records, record("another", "failed", covers=["GetRoom"])])) == []
    assert len(list(matrix.empty_cells([]))) == len(records) == 4 * 17 + 5 * 6
    (deleted,) = [number for number, each in enumerate(records) if each["test"] == "AWS CLI DeleteRoom"]
    lacking = ["no test passed that covers DeleteRoom with AWS CLI"]
    assert list(matrix.empty_cells(records[:deleted] + records[deleted + 1 :])) == lacking
    for outcome in ("failed", "skipped"):
        records[deleted]["outcome"] = outcome
        assert list(matrix.empty_cells(records)) == lacking


def test_a_cell_or_a_row_without_proof_fails_the_compatibility_check(monkeypatch, capsys, tmp_path):
    def check(text, records):
        monkeypatch.setattr(check_compatibility, "PAGE", tmp_path / "page.md")
        check_compatibility.PAGE.write_text(text)
        monkeypatch.setattr(check_compatibility, "load", lambda: records)
        failed = check_compatibility.main()
        return failed, capsys.readouterr().out.splitlines()[3:]

    records = [record("t"), *every_cell()]
    assert check(page(*every_row()), records) == (False, [])
    last = records.pop()
    missing = f"  no test passed that covers {last['covers'][0]} with {last['client']}"
    assert check(page(*every_row()), records) == (True, [missing])
    assert check(page(*every_row()[1:]), [*records, last]) == (True, ["  CreateRoom has no row"])


def test_the_total_counts_failures_skips_and_broken_suites(monkeypatch, capsys):
    def total(records, *broken):
        monkeypatch.setattr(totals, "load", lambda: records)
        monkeypatch.setattr(totals.sys, "argv", ["totals.py", *broken])
        failed = totals.main()
        return capsys.readouterr().out.splitlines()[-1], failed

    assert total([record("a"), record("b")]) == ("2 passed, 0 failed", False)
    assert total([record("a"), record("b", "failed")], "pytest") == ("1 passed, 1 failed", True)
    assert total([record("a"), record("b", "skipped")]) == ("1 passed, 1 failed", True)
    assert total([record("a")], "node") == ("1 passed, 1 failed", True)
    assert total([record("a", "failed", suite="js-sdk")], "node") == ("0 passed, 1 failed", True)
