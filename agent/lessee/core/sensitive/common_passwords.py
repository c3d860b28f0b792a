"""The passwords that attackers try first: the most common ones, and the defaults of well-known servers."""

_WORDS = """
    000000 0000000 00000000 0987654321 1111 11111 111111 1111111 11111111 111222 112233 11223344 121212 123 123123
    123123123 123321 1234 12341234 12345 123454321 123456 1234567 12345678 123456789 1234567890 123456789a 12345678910
    1234qwer 123654 123abc 123qwe 12qwaszx 131313 147258 147258369 159357 159753 1a2b3c 1g2w3e4r 1q2w3e 1q2w3e4r
    1q2w3e4r5t 1qaz2wsx 1qazxsw2 222222 232323 333333 444444 456789 54321 555555 555666 654321 666666 696969 741852963
    7654321 777777 7777777 789456 789456123 87654321 888888 88888888 987654 987654321 9876543210 999999 a123456
    a12345678 aa123456 aaaaaa abc123 abc12345 abcd1234 abcdef abcdefg access action admin admin1 admin123 admin1234
    adminadmin administrator andrew angel apple asdasd asdf asdf1234 asdfasdf asdfgh asdfghjkl ashley azerty baseball
    basketball batman biteme buster changeit charlie cheese chelsea chocolate computer cookie corvette daniel default
    donald dragon elasticsearch eminem enter flower football freedom ginger grafana guest hannah harley hello
    hello123 hockey hunter hunter2 iloveyou internet jennifer jessica jordan joshua killer king kubernetes letmein
    letmein1 liverpool login love lovely maggie manager master matrix merlin michael michelle minio minio123 minioadmin
    minioadmin123 mongodb monkey monkey123 mustang mypassword mysecret mysql naruto nicole ninja nothing oracle p@ssw0rd
    p@ssword pa$$w0rd pa55word pass pass123 pass1234 passpass passw0rd password password! password1 password12
    password123 password1234 passwort pepper phoenix pokemon postgres postgres123 postgresql princess purple
    q1w2e3r4 q1w2e3r4t5 qazwsx qazwsxedc qwe123 qweasd qweasdzxc qweqwe qwer1234 qwerty qwerty1 qwerty12 qwerty123
    qwertyuiop rabbitmq redis redis123 robert root root123 rootroot samsung secret secret123 secretkey service shadow
    silver simba slipknot soccer solo sparky spiderman starwars strongpassword summer sunshine superman superuser
    supersecret sysadmin system temp temp123 tigger toor trustno1 user user123 username vagrant vault welcome
    welcome1 welcome123 whatever william winner winter yankees zaq12wsx zaq1zaq1 zxcvbn zxcvbnm
"""

COMMON = frozenset(_WORDS.split())
"""In lower case. Written for this list; each is near the top of every public list of leaked passwords."""
