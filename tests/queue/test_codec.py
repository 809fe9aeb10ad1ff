"""Asynq's wire format, against bytes made by its own protobuf code."""

from b3os.queue.codec import TaskMessage, decode, encode

VECTOR = (
    "0a0677663a72756e12097b2272756e223a377d1a2433623166366330652d356630612d346135382d396630652d36663164306139613763313122"
    "08637269746963616c281940880e60901c"
)
MESSAGE = TaskMessage(
    type="wf:run",
    payload=b'{"run":7}',
    id="3b1f6c0e-5f0a-4a58-9f0e-6f1d0a9a7c11",
    queue="critical",
    retry=25,
    timeout=1800,
    retention=3600,
)


def test_message_is_byte_identical() -> None:
    assert encode(MESSAGE).hex() == VECTOR
    assert decode(bytes.fromhex(VECTOR)) == MESSAGE


def test_headers_follow() -> None:
    data = bytes.fromhex(VECTOR + "7a0c0a0574726163651203616263")
    assert decode(data).headers == {"trace": "abc"}
    assert encode(decode(data)) == data
