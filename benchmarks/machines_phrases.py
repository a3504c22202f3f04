"""What people and machines say when they answer, in ten languages: texts of our own for synthetic speech.

The n-th phrase of a list belongs to the part n modulo 4: 0 and 1 to train, 2 to calibrate, 3 to test.
"""

# voice of espeak-ng -> what persons say, what machines say
PHRASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en-us": (
        (
            "Hello?", "Hi.", "Yes?", "Hey!", "Hello, John speaking.", "Good morning.", "Who is this?", "Smith speaking.", "Yeah?", "Hello hello?",
            "Speaking.", "Anna.", "This is Robert.", "What's up?", "Smith residence.", "Yes, hello?",
            "Good afternoon, Miller and Sons, Peter speaking, how can I help you?", "Hi, sorry, one second please.",
            "Good morning, front desk, this is Julia.", "Hello? Who's calling please?",
        ),
        (
            "Hi, you have reached the voicemail of John Smith. Please leave a message after the tone.",
            "The person you are calling is not available. Please try again later.",
            "You've reached the Millers. We can't come to the phone right now.",
            "Your call has been forwarded to an automated voice messaging system.",
            "Hello. This is Anna. I am not here. Leave a message and I will call you back.",
            "Thank you for calling. Our office is closed. Our hours are nine to five, Monday to Friday.",
            "Hey, it's Mike, you know what to do.",
            "At the tone, please record your message. When you have finished recording, you may hang up.",
            "Hi! I can't take your call at the moment, but if you leave your name and number I'll get back to you.",
            "We're sorry. The number you have dialed has been disconnected or is no longer in service.",
            "Please leave your message for five five five, oh one two three.",
            "Welcome to the customer line. For English, press one. For all other questions, please hold.",
        ),
    ),
    "en-gb": (
        (
            "Hello?", "Good evening.", "Hello, Margaret here.", "Yes, who's that?", "Hiya.", "Oh, hello there.", "Double four two nine.", "Hello, Thompson.",
            "Reception, good morning.", "Who's speaking?", "Hullo, hullo?", "Right, yes?",
        ),
        (
            "Welcome to the messaging service. The person you called is unable to take your call.",
            "Sorry we missed you. Please leave your name and a short message after the beep.",
            "Hello, this is David Thompson's phone. I'm either away or driving, so do leave a message.",
            "The mobile you are calling may be switched off. Please try later.",
            "You're through to the surgery. If this is an emergency, hang up and dial nine nine nine.",
            "Hi, Kate's phone. Leave a message. Bye.",
            "Thank you for calling the bank. Calls are recorded for training and security.",
            "This is the voice mail of zero seven seven double zero, nine hundred.",
        ),
    ),
    "cmn": (
        (
            "喂？", "你好。", "喂，你好。", "哪位？", "您好，请问哪位？", "喂喂？", "说。", "我是王伟。", "谁呀？", "嗯，你说。", "喂，听得到吗？", "你好，销售部，我是小李。",
            "喂，找谁？", "在呢。", "您好，这里是前台，请讲。", "哎，你好。",
        ),
        (
            "您好，您拨打的电话暂时无人接听，请稍后再拨。",
            "您好，我现在不在，请在提示音后留言。",
            "对不起，您拨打的用户已关机。",
            "您好，欢迎致电客户服务中心，普通话请按一。",
            "您拨打的用户正在通话中，请稍后再拨，或者留下您的口信。",
            "你好，我是张敏，我暂时不方便接电话，听到嘀声后请留言。",
            "对不起，您拨打的号码是空号，请核对后再拨。",
            "您好，这里是语音信箱，请在嘀声之后录音，结束请挂机。",
            "喂，你好，我不在家，有事请留言。",
            "感谢您的来电，现在是非工作时间，我们的工作时间是早上九点到下午五点。",
            "您所拨打的用户不在服务区，请稍后再拨。",
            "来电已转接至语音信箱，请按提示操作。",
        ),
    ),
    "de": (
        (
            "Hallo?", "Ja?", "Müller.", "Guten Tag.", "Ja bitte?", "Schmidt, guten Morgen.", "Wer ist da?", "Hallo, hier ist Peter.", "Moin.", "Weber am Apparat.",
            "Autohaus Becker, guten Tag, mein Name ist Sabine Koch, was kann ich für Sie tun?", "Grüß Gott.",
        ),
        (
            "Guten Tag, Sie sind verbunden mit der Mailbox von Peter Schmidt. Bitte hinterlassen Sie eine Nachricht.",
            "Der gewünschte Gesprächspartner ist zurzeit nicht erreichbar. Bitte versuchen Sie es später noch einmal.",
            "Hallo, wir sind gerade nicht da. Sprechen Sie bitte nach dem Ton.",
            "Herzlich willkommen. Sie rufen außerhalb unserer Geschäftszeiten an.",
            "Kein Anschluss unter dieser Nummer.",
            "Hier ist der Anrufbeantworter der Familie Weber, wir rufen gern zurück.",
            "Die Mailbox von null eins sieben eins ist voll. Sie können keine Nachricht hinterlassen.",
            "Hi, hier ist Jana, ich kann gerade nicht, sprich mir was drauf.",
        ),
    ),
    "fr-fr": (
        (
            "Allô?", "Oui?", "Allô, oui?", "Bonjour.", "Oui, bonjour, qui est à l'appareil?", "Martin, j'écoute.", "C'est qui?", "Oui allô, bonjour.", "J'écoute.",
            "Cabinet du docteur Bernard, bonjour, que puis-je pour vous?", "Allô allô?", "Oui, c'est moi.",
        ),
        (
            "Bonjour, vous êtes bien sur la messagerie de Claire Martin. Laissez-moi un message après le bip.",
            "Le correspondant que vous demandez n'est pas disponible. Veuillez rappeler ultérieurement.",
            "Nous sommes absents pour le moment, merci de laisser votre nom et votre numéro.",
            "Le numéro que vous avez composé n'est pas attribué.",
            "Bienvenue. Tous nos conseillers sont en ligne, veuillez patienter.",
            "Salut, c'est Luc, je ne suis pas là, laissez un message.",
            "Votre appel est transféré vers une messagerie vocale.",
            "Bonjour, le cabinet est fermé. En cas d'urgence, composez le quinze.",
        ),
    ),
    "es": (
        (
            "¿Diga?", "¿Sí?", "Hola.", "¿Bueno?", "¿Aló?", "Dígame.", "¿Quién es?", "Hola, soy Carmen.", "Buenos días.", "¿Sí, dígame?",
            "Talleres García, buenos días, le atiende Luis, ¿en qué puedo ayudarle?", "¿Quién habla?",
        ),
        (
            "Hola, este es el contestador de Carmen. Deja tu mensaje después de la señal.",
            "El teléfono al que llama está apagado o fuera de cobertura en este momento.",
            "En este momento no podemos atenderle. Por favor, deje su nombre y su número.",
            "Ha llamado al buzón de voz del número seis uno dos.",
            "El número marcado no existe. Por favor, verifique.",
            "Bienvenido. Nuestro horario de atención es de nueve a seis.",
            "Hola, no estoy, deja un mensaje y te llamo.",
            "Su llamada será transferida a un sistema automático de mensajes.",
        ),
    ),
    "pt-br": (
        ("Alô?", "Oi.", "Pronto.", "Quem fala?", "Bom dia.", "Alô, quem é?", "Sim?", "Oi, aqui é o João.", "Fala.", "Clínica São José, bom dia, em que posso ajudar?", "Oi, tudo bem?", "Pois não?"),
        (
            "Sua chamada está sendo encaminhada para a caixa postal e estará sujeita a cobrança após o sinal.",
            "Olá, você ligou para Maria. No momento não posso atender, deixe seu recado.",
            "O número chamado encontra-se desligado ou fora da área de cobertura.",
            "Grave o seu recado após o sinal.",
            "Obrigado por ligar. O nosso horário de atendimento é das nove às dezoito horas.",
            "Este número de telefone não existe. Verifique o número e tente novamente.",
            "Oi, aqui é o Pedro, deixa um recado que eu já te ligo.",
            "Não estamos em casa. Deixe o seu nome e telefone depois do bipe.",
        ),
    ),
    "ru": (
        ("Алло?", "Да?", "Слушаю.", "Да, слушаю вас.", "Алло, кто это?", "Добрый день.", "Да, алло.", "Иванов.", "Говорите.", "Компания Вектор, Ольга, здравствуйте, чем могу помочь?", "Привет.", "Здравствуйте, кто говорит?"),
        (
            "Абонент временно недоступен. Попробуйте позвонить позднее.",
            "Здравствуйте, вы позвонили Ольге. Оставьте сообщение после сигнала.",
            "Аппарат абонента выключен или находится вне зоны действия сети.",
            "Вы можете оставить голосовое сообщение после звукового сигнала.",
            "Набранный вами номер не существует.",
            "Спасибо за звонок. Мы работаем с девяти до восемнадцати часов.",
            "Привет, это Саша, меня нет, оставь сообщение.",
            "Здравствуйте, сейчас мы не можем ответить на ваш звонок.",
        ),
    ),
    # Heard in the test alone: nothing of these languages is trained on.
    "it": (
        ("Pronto?", "Sì?", "Pronto, chi parla?", "Buongiorno.", "Sono Marco.", "Chi è?", "Ufficio vendite, buongiorno, sono Elena, come posso aiutarla?", "Sì, pronto."),
        (
            "Il cliente da lei chiamato non è al momento raggiungibile. La preghiamo di richiamare più tardi.",
            "Ciao, sono Elena, non posso rispondere. Lasciate un messaggio dopo il segnale.",
            "Risponde la segreteria telefonica del numero tre tre cinque.",
            "Benvenuto. I nostri uffici sono chiusi.",
            "Attenzione, il numero selezionato è inesistente.",
            "Ciao, lascia un messaggio.",
            "La chiamata è stata trasferita alla casella vocale.",
            "In questo momento non siamo in casa, potete lasciare un messaggio.",
        ),
    ),
    "pl": (
        ("Halo?", "Tak?", "Słucham?", "Dzień dobry.", "Kto mówi?", "Halo, słucham.", "Nowak, słucham.", "Biuro obsługi, dzień dobry, Anna Nowak, w czym mogę pomóc?"),
        (
            "Abonent jest czasowo niedostępny. Prosimy spróbować później.",
            "Tu poczta głosowa. Zostaw wiadomość po sygnale.",
            "Dzień dobry, nie mogę teraz odebrać. Proszę zostawić wiadomość.",
            "Nie ma takiego numeru.",
            "Dziękujemy za telefon. Nasze biuro jest czynne od ósmej do szesnastej.",
            "Cześć, tu Kuba, oddzwonię.",
            "Abonent ma wyłączony telefon lub jest poza zasięgiem sieci.",
            "Nagraj wiadomość po usłyszeniu sygnału, a następnie odłóż słuchawkę.",
        ),
    ),
}  # fmt: skip
UNSEEN = ("it", "pl")
# Variants of the voices of espeak-ng, by part: nobody is heard in two of them.
SPEAKERS = {
    "train": ("m1", "m3", "m7", "f1", "f2", "adam", "anika", "belinda", "edward", "Andy", "Alicia", "steph"),
    "calibrate": ("m2", "m5", "f5", "linda", "caleb", "Annie"),
    "test": ("m4", "m6", "f3", "f4", "grandma", "john", "victor", "shelby"),
}
