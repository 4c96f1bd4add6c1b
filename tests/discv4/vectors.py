"""
Published packets: EIP-8, "RLPx Discovery Protocol", and geth's C{v4wire_test.go}.  All are signed by L{KEY}.
"""

from __future__ import annotations

from ethp2p.crypto.keys import PrivateKey
from ethp2p.discv4.wire import Endpoint, FindNode, Message, Neighbor, Neighbors, Ping, Pong

KEY = PrivateKey.parse(bytes.fromhex("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291"))
EXPIRATION = 1136239445

_HERE = Endpoint(bytes((127, 0, 0, 1)), 3322, 5544)
_LOOPBACK6 = Endpoint(bytes(15) + b"\x01", 2222, 3333)
_ONE = Endpoint(bytes.fromhex("20010db83c4d001500000000abcdef12"), 3322, 5544)
_OTHER = Endpoint(bytes.fromhex("20010db885a308d313198a2e03707348"), 2222, 33338)

#: What each packet is called, the packet, and what it says.
PACKETS: list[tuple[str, bytes, Message]] = [
    (
        "a ping",
        bytes.fromhex(
            "71dbda3a79554728d4f94411e42ee1f8b0d561c10e1e5f5893367948c6a7d70bb87b235fa28a77070271b6c164a2dce8c7e1"
            "3a5739b53b5e96f2e5acb0e458a02902f5965d55ecbeb2ebb6cabb8b2b232896a36b737666c55265ad0a68412f250001ea04"
            "cb847f000001820cfa8215a8d790000000000000000000000000000000018208ae820d058443b9a355"
        ),
        Ping(4, _HERE, _LOOPBACK6, EXPIRATION),
    ),
    (
        "a ping with additional list elements",
        bytes.fromhex(
            "e9614ccfd9fc3e74360018522d30e1419a143407ffcce748de3e22116b7e8dc92ff74788c0b6663aaa3d67d641936511c8f8"
            "d6ad8698b820a7cf9e1be7155e9a241f556658c55428ec0563514365799a4be2be5a685a80971ddcfa80cb422cdd0101ec04"
            "cb847f000001820cfa8215a8d790000000000000000000000000000000018208ae820d058443b9a3550102"
        ),
        Ping(4, _HERE, _LOOPBACK6, EXPIRATION, 1),
    ),
    (
        "a ping of version 555 with a list where the seq is now, and random data",
        bytes.fromhex(
            "577be4349c4dd26768081f58de4c6f375a7a22f3f7adda654d1428637412c3d7fe917cadc56d4e5e7ffae1dbe3efffb9849f"
            "eb71b262de37977e7c7a44e677295680e9e38ab26bee2fcbae207fba3ff3d74069a50b902a82c9903ed37cc993c50001f83e"
            "82022bd79020010db83c4d001500000000abcdef12820cfa8215a8d79020010db885a308d313198a2e037073488208ae8282"
            "3a8443b9a355c5010203040531b9019afde696e582a78fa8d95ea13ce3297d4afb8ba6433e4154caa5ac6431af1b80ba7602"
            "3fa4090c408f6b4bc3701562c031041d4702971d102c9ab7fa5eed4cd6bab8f7af956f7d565ee1917084a95398b6a21eac92"
            "0fe3dd1345ec0a7ef39367ee69ddf092cbfe5b93e5e568ebc491983c09c76d922dc3"
        ),
        Ping(555, _ONE, _OTHER, EXPIRATION),
    ),
    (
        "a pong with additional list elements and random data",
        bytes.fromhex(
            "09b2428d83348d27cdf7064ad9024f526cebc19e4958f0fdad87c15eb598dd61d08423e0bf66b2069869e1724125f820d851"
            "c136684082774f870e614d95a2855d000f05d1648b2d5945470bc187c2d2216fbe870f43ed0909009882e176a46b0102f846"
            "d79020010db885a308d313198a2e037073488208ae82823aa0fbc914b16819237dcd8801d7e53f69e9719adecb3cc0e790c5"
            "7e91ca4461c9548443b9a355c6010203c2040506a0c969a58f6f9095004c0177a6b47f451530cab38966a25cca5cb58f0555"
            "42124e"
        ),
        Pong(_OTHER, bytes.fromhex("fbc914b16819237dcd8801d7e53f69e9719adecb3cc0e790c57e91ca4461c954"), EXPIRATION),
    ),
    (
        "a findnode with additional list elements and random data",
        bytes.fromhex(
            "c7c44041b9f7c7e41934417ebac9a8e1a4c6298f74553f2fcfdcae6ed6fe53163eb3d2b52e39fe91831b8a927bf4fc222c39"
            "02202027e5e9eb812195f95d20061ef5cd31d502e47ecb61183f74a504fe04c51e73df81f25c4d506b26db4517490103f84e"
            "b840ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd31387574077f301b421bc84df7266c44e9e6"
            "d569fc56be00812904767bf5ccd1fc7f8443b9a35582999983999999280dc62cc8255c73471e0a61da0c89acdc0e035e260a"
            "dd7fc0c04ad9ebf3919644c91cb247affc82b69bd2ca235c71eab8e49737c937a2c396"
        ),
        FindNode(
            bytes.fromhex(
                "ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd31387574077f301b421bc84df7266c44e9e6"
                "d569fc56be00812904767bf5ccd1fc7f"
            ),
            EXPIRATION,
        ),
    ),
    (
        "a neighbors with additional list elements and random data",
        bytes.fromhex(
            "c679fc8fe0b8b12f06577f2e802d34f6fa257e6137a995f6f4cbfc9ee50ed3710faf6e66f932c4c8d81d64343f4296513287"
            "58b47d3dbc02c4042f0fff6946a50f4a49037a72bb550f3a7872363a83e1b9ee6469856c24eb4ef80b7535bcf99c0004f901"
            "5bf90150f84d846321163782115c82115db8403155e1427f85f10a5c9a7755877748041af1bcd8d474ec065eb33df57a97ba"
            "bf54bfd2103575fa829115d224c523596b401065a97f74010610fce76382c0bf32f84984010203040101b840312c55512422"
            "cf9b8a4097e9a6ad79402e87a15ae909a4bfefa22398f03d20951933beea1e4dfa6f968212385e829f04c2d314fc2d4e255e"
            "0d3bc08792b069dbf8599020010db83c4d001500000000abcdef12820d05820d05b84038643200b172dcfef857492156971f"
            "0e6aa2c538d8b74010f8e140811d53b98c765dd2d96126051913f44582e8c199ad7c6d6819e9a56483f637feaac9448aacf8"
            "599020010db885a308d313198a2e037073488203e78203e8b8408dcab8618c3253b558d459da53bd8fa68935a719aff8b811"
            "197101a4b2b47dd2d47295286fc00cc081bb542d760717d1bdd6bec2c37cd72eca367d6dd3b9df738443b9a355010203b525"
            "a138aa34383fec3d2719a0"
        ),
        Neighbors(
            (
                Neighbor(
                    bytes((99, 33, 22, 55)),
                    4444,
                    4445,
                    bytes.fromhex(
                        "3155e1427f85f10a5c9a7755877748041af1bcd8d474ec065eb33df57a97babf"
                        "54bfd2103575fa829115d224c523596b401065a97f74010610fce76382c0bf32"
                    ),
                ),
                Neighbor(
                    bytes((1, 2, 3, 4)),
                    1,
                    1,
                    bytes.fromhex(
                        "312c55512422cf9b8a4097e9a6ad79402e87a15ae909a4bfefa22398f03d2095"
                        "1933beea1e4dfa6f968212385e829f04c2d314fc2d4e255e0d3bc08792b069db"
                    ),
                ),
                Neighbor(
                    bytes.fromhex("20010db83c4d001500000000abcdef12"),
                    3333,
                    3333,
                    bytes.fromhex(
                        "38643200b172dcfef857492156971f0e6aa2c538d8b74010f8e140811d53b98c"
                        "765dd2d96126051913f44582e8c199ad7c6d6819e9a56483f637feaac9448aac"
                    ),
                ),
                Neighbor(
                    bytes.fromhex("20010db885a308d313198a2e03707348"),
                    999,
                    1000,
                    bytes.fromhex(
                        "8dcab8618c3253b558d459da53bd8fa68935a719aff8b811197101a4b2b47dd2"
                        "d47295286fc00cc081bb542d760717d1bdd6bec2c37cd72eca367d6dd3b9df73"
                    ),
                ),
            ),
            EXPIRATION,
        ),
    ),
]
